"""The timer of an app, which install() attaches to it: its settings and its shards, shared by all rooms."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from operator import is_
from typing import Any

from celery_dtimer.counters import Counters
from celery_dtimer.errors import NotInstalledError, SettingsError
from celery_dtimer.settings import PREFIX, Settings, configured
from celery_dtimer.timer.connecting.cluster import Cluster
from celery_dtimer.timer.connecting.server import Server
from celery_dtimer.timer.connecting.url import connect
from celery_dtimer.timer.owners import APP
from celery_dtimer.timer.storing.namespace import Shards
from celery_dtimer.timer.storing.replicas import Replication

logger = logging.getLogger(__name__)

#: The app's attribute that holds its Extension.
ATTRIBUTE = "_dtimer"

#: The header in which a request has its DeliveryInfo, ``request.dtimer``; never part of a stored message.
DELIVERY_HEADER = "dtimer"


@dataclass(frozen=True)
class DeliveryInfo:
    """The delivery of a task that the timer fired, as the task sees it: ``self.request.dtimer``.

    Attributes:
        due_at: When it was due, in UTC.
        lateness: Seconds from then until its worker received it, whatever the worker's clock says.
        redeliveries: Earlier deliveries that were not confirmed.
        max_redeliveries: Redeliveries before it is parked; a retry keeps that.
        queue: The queue that it waited in; a retry stays in it, unless it names another.
        key: The timer's own name for it; a retry says which delivery it follows.
        tags: Its tags; a retry keeps them.
    """

    due_at: datetime
    lateness: float
    redeliveries: int
    max_redeliveries: int
    queue: str
    key: bytes = field(default=b"", repr=False)
    tags: tuple[str, ...] = ()

    def __reduce__(self) -> Any:
        """Be pickled, for a process of the pool, without the time zone: that alone takes half of the time."""
        in_utc = self.due_at.tzinfo is UTC
        due_at = self.due_at.replace(tzinfo=None) if in_utc else self.due_at
        rest = (self.lateness, self.redeliveries, self.max_redeliveries, self.queue, self.key, self.tags)
        return _unpickled, (in_utc, due_at, *rest)


def _unpickled(in_utc: bool, due_at: datetime, *rest: Any) -> DeliveryInfo:
    return DeliveryInfo(due_at.replace(tzinfo=UTC) if in_utc else due_at, *rest)


@dataclass
class _Reading:
    """The settings in an app's configuration, and the configuration that they were read from.

    Attributes:
        seen: The configuration's names and values then.
        values: The settings, unchecked.
        settings: The settings, checked; None before they are used.
    """

    seen: tuple[Any, ...] = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)
    settings: Settings | None = None


class Extension:
    """The timer of one app. Nothing is read or connected before it is needed.

    A setting that is changed later counts from then on. But a worker that listens keeps to the settings with which it
    started, since posts must not go where it does not listen: it logs that.

    Args:
        app: The Celery app.
        given: Settings without their prefix that go before the app's configuration.
    """

    def __init__(self, app: Any, given: dict[str, Any]) -> None:
        self.app = app
        self.given = given
        self._lock = threading.RLock()  # a signal's handler that posts may have interrupted its holder
        self._seen: tuple[Any, ...] = ()
        self._reading: _Reading | None = None
        self._shards: Shards | None = None
        self._place: tuple[Any, ...] = ()
        self._placed: tuple[Settings, Shards] | None = None
        self._held = 0
        self._ignored: tuple[Any, ...] = ()
        #: What happened to events in this process.
        self.counters = Counters(app)
        #: When the result backend, which failed, is told of cancelled tasks again: seconds of time.monotonic().
        self.backend_rests_until = 0.0

    def give(self, settings: dict[str, Any]) -> None:
        """Add settings to those that go before the configuration."""
        with self._lock:
            self.given = {**self.given, **settings}

    @property
    def settings(self) -> Settings:
        """The app's settings, checked.

        Raises:
            SettingsError: One of them is wrong.
        """
        return self.settings_in(self.seen())

    def settings_in(self, seen: tuple[Any, ...]) -> Settings:
        """Return the settings in a configuration that ``seen`` has just returned; raises what ``settings`` does."""
        reading = self._read(seen)
        if reading.settings is None:
            reading.settings = Settings.of(self.app, reading.values)
        return reading.settings

    @property
    def takes_over(self) -> bool:
        """Whether ``takeover`` is set at all: asked at every call with a countdown, whatever the other settings are.

        Raises:
            SettingsError: There is an unknown setting, which may be meant to be that one.
        """
        return self._read(self.seen()).values.get("takeover") is not None

    @property
    def shards(self) -> Shards:
        """The stored events; their connections survive a fork."""
        return self.shards_of(self.settings)

    def shards_of(self, settings: Settings) -> Shards:
        """The stored events of settings that are those of the app."""
        placed = self._placed
        if placed is not None and placed[0] is settings:
            return placed[1]
        with self._lock:
            place = (
                *(settings.url, settings.options, settings.namespace, settings.shards),
                *(settings.wait_replicas, settings.wait_timeout),
            )
            if self._shards is None or place != self._place:
                if self._shards is not None:
                    # Those that other threads have in use are closed when they are done with them.
                    self._shards.servers.disconnect()
                self._shards = Shards(
                    self._connect(settings),
                    settings.namespace,
                    settings.shards,
                    Replication(settings.wait_replicas, settings.wait_timeout, APP.named("wait_replicas")),
                    APP,
                )
                self._place = place
            self._placed = (settings, self._shards)
            return self._shards

    def _connect(self, settings: Settings) -> Server | Cluster:
        return connect(settings.url, settings.options, name=f"{PREFIX}url")

    def hold(self) -> None:
        """Keep to the settings as they are now: a worker listens from here on."""
        with self._lock:
            _ = self.settings
            self._held += 1

    def let_go(self) -> None:
        """Read settings that have changed again: the worker listens no more."""
        with self._lock:
            self._held = max(0, self._held - 1)

    @property
    def is_held(self) -> bool:
        """Whether a worker of this process listens."""
        return self._held > 0

    def seen(self) -> tuple[Any, ...]:
        """Return all that is configured, for comparisons: the same object as long as nothing has changed."""
        last, seen = self._seen, _seen(self.app, self.given)
        if same(last, seen):
            return last
        self._seen = seen
        return seen

    def _read(self, seen: tuple[Any, ...]) -> _Reading:
        reading = self._reading
        if reading is not None and (reading.seen is seen or same(reading.seen, seen)):
            return reading
        with self._lock:
            if reading is not None and self._held:
                if not same(self._ignored, seen):
                    self._ignored = seen
                    self._say_what_changed(reading)
                return reading
            self._reading = _Reading(seen, configured(self.app, self.given))
            return self._reading

    def _say_what_changed(self, reading: _Reading) -> None:
        try:
            now = Settings.of(self.app, configured(self.app, self.given))
        except SettingsError as exc:
            logger.warning(
                "dtimer: a setting has changed in a worker that runs; it counts after a restart (%s)",
                exc,
                extra={"dtimer_settings": (exc.setting,)},
            )
            return
        then = reading.settings
        names = [PREFIX + f.name for f in fields(Settings) if then and getattr(then, f.name) != getattr(now, f.name)]
        if names:
            logger.warning(
                "dtimer: %s changed in a worker that runs; the worker keeps the old values until it is restarted",
                ", ".join(names),
                extra={"dtimer_settings": tuple(names)},
            )


def _seen(app: Any, given: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return all names and values that are configured.

    They are compared by identity: that is fast, and calls no method of the values.
    """
    conf = app.conf
    if not app.configured:
        conf.finalize()
    seen: list[Any] = [*given, *given.values()]
    for mapping in conf.maps[:-1]:
        source = mapping
        if not isinstance(mapping, dict):
            # Celery's view of a module or another object; Django's settings change the content of theirs.
            source = getattr(getattr(mapping, "obj", mapping), "__dict__", {})
        seen.append(mapping)
        seen.extend(source)
        seen.extend(source.values())
    return tuple(seen)


def same(then: Sequence[Any], now: Sequence[Any]) -> bool:
    """Whether the items of both are the same objects, in the same order."""
    return len(then) == len(now) and all(map(is_, then, now))


def extension_of(app: Any) -> Extension:
    """Return the app's extension.

    Raises:
        NotInstalledError: ``install(app)`` was not called.
    """
    extension = getattr(app, ATTRIBUTE, None)
    if not isinstance(extension, Extension):
        # Celery makes an app of that name where a thread has none, and shared tasks are that one's then.
        meant = "; or app.set_default(), if another app is meant: this thread has none" if app.main == "default" else ""
        raise NotInstalledError(
            f"the app {app.main or app!r} has no timer: call celery_dtimer.install(app) where it is made{meant}"
        )
    return extension
