"""What install() hangs on an app, for the rooms that share it: the settings and the timer's shards."""

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celery_dtimer.errors import NotInstalledError
from celery_dtimer.settings import Settings
from celery_dtimer.timer.connect import connect
from celery_dtimer.timer.replication import Replication
from celery_dtimer.timer.shards import Shards

#: The app's attribute that holds its Extension.
ATTRIBUTE = "_dtimer"


@dataclass(frozen=True)
class DeliveryInfo:
    """What a task that the timer fired can see of its delivery, as ``self.request.dtimer``.

    Attributes:
        due_at: When it was due, in UTC.
        lateness: Seconds from then until its worker received it, whatever the worker's clock says.
        redeliveries: How often it was delivered before and not confirmed.
        max_redeliveries: How often it may be; a retry keeps that.
    """

    due_at: datetime
    lateness: float
    redeliveries: int
    max_redeliveries: int


class Extension:
    """The timer of one app. Nothing is read or connected before it is needed.

    Args:
        app: The Celery app.
        given: Settings without their prefix that go before the app's configuration.
    """

    def __init__(self, app: Any, given: dict[str, Any]) -> None:
        self.app = app
        self.given = given
        self._lock = threading.Lock()
        self._settings: Settings | None = None
        self._shards: Shards | None = None

    def give(self, settings: dict[str, Any]) -> None:
        """Add settings to those that go before the configuration; what was made of the old ones is made anew."""
        if settings:
            with self._lock:
                self.given.update(settings)
                if self._shards is not None:
                    # Those that other threads have in use are closed when they are done with them.
                    self._shards.servers.disconnect()
                self._settings = self._shards = None

    @property
    def settings(self) -> Settings:
        """The app's settings, read and checked once.

        Raises:
            SettingsError: One of them is wrong.
        """
        if self._settings is None:
            self._settings = Settings.from_app(self.app, self.given)
        return self._settings

    @property
    def takes_over(self) -> bool:
        """Whether ``takeover`` is set at all: asked at every call with a countdown, whatever the other settings are."""
        return self.given.get("takeover", self.app.conf.get("dtimer_takeover")) is not None

    @property
    def shards(self) -> Shards:
        """The stored events; their connections survive a fork."""
        with self._lock:
            if self._shards is None:
                settings = self.settings
                self._shards = Shards(
                    connect(settings.url),
                    settings.namespace,
                    settings.shards,
                    Replication(settings.wait_replicas, settings.wait_timeout),
                )
            return self._shards


def extension_of(app: Any) -> Extension:
    """Return the app's extension.

    Raises:
        NotInstalledError: ``install(app)`` was not called.
    """
    extension = getattr(app, ATTRIBUTE, None)
    if not isinstance(extension, Extension):
        raise NotInstalledError(
            f"the app {app.main or app!r} has no timer: call celery_dtimer.install(app) where it is made"
        )
    return extension
