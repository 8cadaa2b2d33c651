"""Every ``dtimer_*`` setting: its type, its unit, its default, and what is said about a wrong one."""

import difflib
import math
import numbers
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Self
from urllib.parse import urlencode

from celery_dtimer.errors import InvalidEventError, SettingsError
from celery_dtimer.timer.connect import SCHEMES, connect, without_password
from celery_dtimer.timer.dtimer import MAX_PAYLOAD, MAX_REDELIVERIES, MIN_CONFIRM_TIMEOUT
from celery_dtimer.timer.events import check_max_redeliveries
from celery_dtimer.timer.health import MODES, EvictionCheck, check_mode
from celery_dtimer.timer.keys import Keys
from celery_dtimer.timer.replication import MAX_WAIT_TIMEOUT, MIN_WAIT_TIMEOUT, WAIT_TIMEOUT
from celery_dtimer.timer.shard_listener import MAX_POLL_INTERVAL, MIN_POLL_INTERVAL, POLL_INTERVAL
from celery_dtimer.timer.shards import MAX_SHARDS

PREFIX = "dtimer_"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one app, checked.

    Attributes:
        url: The timer's Redis. By default the broker's URL, if that is a Redis.
        namespace: Name of one independent set of events.
        max_events: At most so many events are held by a worker that have not been acknowledged; None: the
            worker's prefetch count.
        confirm_timeout: Seconds after which an event is redelivered that its worker neither confirmed nor renewed.
        poll_interval: Seconds after which a worker looks for events if nobody wakes it: so late is the next event if
            the worker dies that was to wake for it.
        max_redeliveries: So often an event may be redelivered before it is parked.
        takeover: A task with a countdown or eta of so many seconds or more goes to the timer, however it is called;
            None: only what is posted does.
        shards: Over so many slots of a Redis Cluster the events are spread; fixed by the namespace's first use.
        max_payload: Largest stored message, in bytes.
        wait_replicas: A post returns when so many replicas of the timer's Redis have the event.
        wait_timeout: Seconds that a post waits for them.
        eviction_check: What a worker does, as it starts, about a Redis that may evict the timer's keys: ``"ignore"``,
            ``"warn"`` (in its log) or ``"error"``.
    """

    url: str = field(repr=False)  # it may have a password
    namespace: str = "dt"
    max_events: int | None = None
    confirm_timeout: float = 10.0
    poll_interval: float = POLL_INTERVAL
    max_redeliveries: int = MAX_REDELIVERIES
    takeover: float | None = None
    shards: int = 1
    max_payload: int = MAX_PAYLOAD
    wait_replicas: int = 0
    wait_timeout: float = WAIT_TIMEOUT
    eviction_check: EvictionCheck = "warn"

    @classmethod
    def from_app(cls, app: Any, given: dict[str, Any]) -> Self:
        """Read the app's configuration.

        Args:
            app: A Celery app.
            given: Settings without their prefix that go before the configuration: those given to ``install``.

        Raises:
            SettingsError: A setting is unknown, of the wrong type or out of range, or no URL is to be had.
        """
        names = [field.name for field in fields(cls)]
        for name in [*given, *_configured(app)]:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = (
                    f"did you mean {PREFIX}{near[0]}?" if near else f"there are {', '.join(PREFIX + n for n in names)}"
                )
                raise SettingsError(f"unknown setting {PREFIX}{name}: {hint}", setting=PREFIX + name)
        # app.conf.get() also finds CELERY_DTIMER_* where the app has a namespace for its settings.
        values = {name: given.get(name, app.conf.get(PREFIX + name)) for name in names}
        values = {name: value for name, value in values.items() if value is not None}
        if "url" not in values:
            values["url"] = _broker_url(app)
        for name, value in values.items():
            values[name] = _CHECKS[name](PREFIX + name, value)
        return cls(**values)


def _configured(app: Any) -> list[str]:
    """The ``dtimer_*`` names in the app's configuration, without the prefix, known or not."""
    namespaced = f"{app.namespace}_{PREFIX}".lower() if app.namespace else None
    found = []
    for key in app.conf.keys():  # noqa: SIM118 - a ConfigurationView iterates over more than its keys
        if key.startswith(PREFIX):
            found.append(key.removeprefix(PREFIX))
        elif namespaced and key.lower().startswith(namespaced):
            found.append(key[len(namespaced) :].lower())
    return found


def _broker_url(app: Any) -> str:
    broker = app.conf.broker_url or ""
    parts = [part for url in (broker if isinstance(broker, list | tuple) else [broker]) for part in url.split(";")]
    first = parts[0]
    if first.startswith("sentinel://"):
        return _sentinel_url(app, parts)
    if first.startswith("redis+socket://"):
        # kombu's name for a Redis behind a Unix socket, and for its database there.
        first = re.sub(r"([?&])virtual_host=", r"\1db=", first.replace("redis+socket://", "unix://", 1))
    if first.partition("://")[0] in SCHEMES:
        return str(first)
    raise SettingsError(
        f"dtimer_url is not set, and the broker ({without_password(first) or 'none'}) is no Redis that the timer could "
        "share: set dtimer_url to a redis:// URL",
        setting="dtimer_url",
    )


def _sentinel_url(app: Any, parts: list[str]) -> str:
    """The URL of a broker behind sentinels, with what kombu takes from the transport options in its query."""
    if app.conf.broker_use_ssl:
        raise SettingsError(
            "dtimer_url is not set, and broker_use_ssl can't be taken over from a broker that is sentinel://: set "
            "dtimer_url to a sentinel:// URL with ssl=true",
            setting="dtimer_url",
        )
    options = app.conf.broker_transport_options or {}
    given = {name: options.get(name) for name in ("master_name", "min_other_sentinels")}
    given |= {f"sentinel_{name}": value for name, value in (options.get("sentinel_kwargs") or {}).items()}
    # A member of ssl.VerifyMode goes by its name, which is Celery's spelling too.
    query = urlencode({name: getattr(value, "name", value) for name, value in given.items() if value is not None})
    first, *others = (part for part in parts if part.startswith("sentinel://"))
    return ";".join([first + ("&" if "?" in first else "?") + query, *others])


def _wrong(setting: str, wanted: str, value: Any) -> SettingsError:
    return SettingsError(f"{setting} is {wanted}, not {value!r}", setting=setting, value=value)


def _url(setting: str, value: Any) -> str:
    if not isinstance(value, str):
        # Not shown: a list of URLs, or one in bytes, has its password all the same.
        raise SettingsError(f"{setting} is a URL, a string, not {type(value).__name__}", setting=setting)
    # Celery's spelling of what redis-py calls none, optional and required.
    url = re.sub(r"([?&]\w*ssl_cert_reqs=)CERT_(\w+)", lambda found: found[1] + found[2].lower(), value)
    connect(url)
    return url


def _namespace(setting: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(setting, "a name", value)
    return Keys(value).namespace


def _count(setting: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        raise _wrong(setting, f"a whole number from {least} {'on' if most is None else f'to {most}'}", value)
    return value


def _redeliveries(setting: str, value: Any) -> int:
    try:
        return check_max_redeliveries(value)
    except InvalidEventError:
        raise _wrong(setting, "a whole number from 0 on", value) from None


def _seconds(setting: str, value: Any, *, least: float, most: float = math.inf) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if not isinstance(value, numbers.Real | Decimal) or isinstance(value, bool):
        raise _wrong(setting, "a number of seconds or a timedelta", value)
    try:
        seconds = float(value)
    except (OverflowError, ValueError):
        seconds = math.nan
    if not math.isfinite(seconds) or not least <= seconds <= most:
        raise _wrong(setting, f"{least:g} s {'or more, and finite' if most == math.inf else f'to {most:g} s'}", value)
    return seconds


def _mode(setting: str, value: Any) -> EvictionCheck:
    try:
        return check_mode(value)
    except InvalidEventError:
        raise _wrong(setting, f"one of {', '.join(MODES)}", value) from None


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "url": _url,
    "namespace": _namespace,
    "max_events": _count,
    "confirm_timeout": partial(_seconds, least=MIN_CONFIRM_TIMEOUT),
    "poll_interval": partial(_seconds, least=MIN_POLL_INTERVAL, most=MAX_POLL_INTERVAL),
    "max_redeliveries": _redeliveries,
    "takeover": partial(_seconds, least=0.0),
    "shards": partial(_count, most=MAX_SHARDS),
    "max_payload": _count,
    "wait_replicas": partial(_count, least=0),
    "wait_timeout": partial(_seconds, least=MIN_WAIT_TIMEOUT, most=MAX_WAIT_TIMEOUT),
    "eviction_check": _mode,
}
