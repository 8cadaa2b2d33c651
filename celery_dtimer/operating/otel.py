"""The metrics as OpenTelemetry's instruments. Needs its API: ``pip install celery-dtimer[otel]``."""

import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter
from redis.exceptions import RedisError

import celery_dtimer
from celery_dtimer.counters import BOUNDS, NAMES
from celery_dtimer.errors import DTimerError
from celery_dtimer.extension import Extension, extension_of
from celery_dtimer.operating.gauges import Gauges, QueueGauges, read_gauges
from celery_dtimer.operating.labels import label
from celery_dtimer.signals import event_fired

Callback = Callable[[CallbackOptions], Iterator[Observation]]

#: Seconds for which one reading of the timer is good for all gauges of a collection.
FRESH = 1.0


def instrument(app: Any, meter_provider: MeterProvider | None = None, *, gauges: bool = False) -> None:
    """Make the instruments of an app in this process, once.

    Counters and the histogram of lateness are those of this process; ``gauges`` are the timer's, and read from Redis at
    each collection: one process of a fleet is enough for them.

    Args:
        app: The Celery app, with a timer.
        meter_provider: Where the instruments are made; None: the global one, whenever it is set.
        gauges: Whether to make gauges too.

    Raises:
        NotInstalledError: ``install(app)`` was not called.
    """
    extension = extension_of(app)
    meter = get_meter("celery_dtimer", celery_dtimer.__version__, meter_provider)
    for name in NAMES:
        meter.create_observable_counter(
            f"celery_dtimer.events.{name}", [_counted(extension, name)], "{event}", f"Events {name}, by queue."
        )
    lateness = meter.create_histogram(
        "celery_dtimer.lateness",
        "s",
        "From due to handed to the worker.",
        explicit_bucket_boundaries_advisory=BOUNDS,
    )

    def record(*, queue: str, **fields: Any) -> None:
        lateness.record(fields["lateness"], {"queue": label(extension.counters.name_of(queue))})

    event_fired.connect(record, sender=extension.app, weak=False)
    if gauges:
        timer = _Timer(extension)
        for field in fields(QueueGauges):
            meter.create_observable_gauge(f"celery_dtimer.{field.name}", [timer.by_queue(field.name)], "{event}")
        meter.create_observable_gauge("celery_dtimer.parked", [timer.of_all("parked")], "{event}")
        meter.create_observable_gauge("celery_dtimer.oldest_overdue", [timer.of_all("oldest_overdue")], "s")


def _counted(extension: Extension, name: str) -> Callback:
    def observe(_: CallbackOptions) -> Iterator[Observation]:
        for queue, counts in list(extension.counters.queues.items()):
            count = getattr(counts, name)
            if queue or count:
                yield Observation(count, {"queue": label(queue)})

    return observe


class _Timer:
    """The timer's gauges, read once for all instruments."""

    def __init__(self, extension: Extension) -> None:
        self._extension = extension
        self._read_at = 0.0
        self._gauges: Gauges | None = None

    def _read(self) -> Gauges | None:
        now = time.monotonic()
        if not self._read_at or now > self._read_at + FRESH:
            try:
                self._gauges = read_gauges(self._extension.shards)
            except (DTimerError, RedisError, OSError):
                self._gauges = None
            self._read_at = time.monotonic()
        return self._gauges

    def by_queue(self, name: str) -> Callback:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            gauges = self._read()
            for queue, values in gauges.queues.items() if gauges else ():
                yield Observation(getattr(values, name), {"queue": label(queue), **self._namespace})

        return observe

    def of_all(self, name: str) -> Callback:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            gauges = self._read()
            if gauges:
                yield Observation(getattr(gauges, name), self._namespace)

        return observe

    @property
    def _namespace(self) -> dict[str, str]:
        return {"namespace": label(self._extension.settings.namespace)}
