"""What operators need in a worker: the commands of remote control, and an endpoint of metrics if one is set."""

import logging
from typing import TYPE_CHECKING, Any

from celery import bootsteps

from celery_dtimer.errors import SettingsError
from celery_dtimer.extension import extension_of
from celery_dtimer.operating import control, revoking  # noqa: F401 - their commands are registered

if TYPE_CHECKING:
    from celery_dtimer.operating.prometheus import Endpoint

logger = logging.getLogger(__name__)


class OperatingStep(bootsteps.StartStopStep):  # type: ignore[misc] # Celery ships no types
    """Serves metrics while the worker lives; a reconnect to the broker does not interrupt that."""

    name = "dtimer-operating"
    requires = ("celery_dtimer.firing.bootstep:DTimerStep",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._endpoint: Endpoint | None = None

    def create(self, consumer: Any) -> None:
        """Refuse to start without what the setting needs.

        Raises:
            SettingsError: ``dtimer_metrics_port`` is set, and prometheus-client is not installed.
        """
        port = extension_of(consumer.app).settings.metrics_port
        if port is None:
            return
        try:
            import prometheus_client  # noqa: F401, PLC0415 - not without the setting
        except ImportError as exc:
            raise SettingsError(
                "dtimer_metrics_port needs prometheus-client: pip install 'celery-dtimer[prometheus]'",
                setting="dtimer_metrics_port",
                value=port,
            ) from exc

    def start(self, consumer: Any) -> None:
        """Serve, once the pool has its processes."""
        extension = extension_of(consumer.app)
        host, port = extension.settings.metrics_host, extension.settings.metrics_port
        if port is None or self._endpoint is not None:
            return
        from celery_dtimer.operating.prometheus import (  # noqa: PLC0415 - not without the setting
            Endpoint,
            TimerCollector,
            WorkerCollector,
        )

        def report() -> dict[str, Any] | None:
            dispatcher = consumer.dtimer.dispatcher
            return None if dispatcher is None else dispatcher.report()

        def is_failing() -> bool:
            told = report()
            return told is not None and not told["redis"]["connected"]

        try:
            self._endpoint = Endpoint(
                host, port, WorkerCollector(extension.counters, report), TimerCollector(extension, is_failing)
            )
        except OSError as exc:
            # Tasks are more than metrics.
            logger.error(  # noqa: TRY400 - a traceback says no more
                "dtimer: no metrics are served on %s:%d (%s); the worker goes on without",
                host,
                port,
                exc,
                extra={"dtimer_listener": consumer.hostname},
            )
            return
        logger.info("dtimer: metrics are served on %s:%d", host, port, extra={"dtimer_listener": consumer.hostname})

    def shutdown(self, consumer: Any) -> None:
        """Serve no more."""
        del consumer
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.close()
