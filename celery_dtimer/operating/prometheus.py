"""The metrics as Prometheus scrapes them. Needs prometheus-client: ``pip install celery-dtimer[prometheus]``."""

import logging
import threading
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import start_http_server
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from celery_dtimer.counters import BOUNDS, Counters
from celery_dtimer.errors import DTimerError
from celery_dtimer.extension import Extension
from celery_dtimer.operating.backlog import limit_in_force
from celery_dtimer.operating.gauges import AHEAD, read_gauges
from celery_dtimer.operating.labels import label
from celery_dtimer.timer.forks import tell_of_forks

logger = logging.getLogger(__name__)

#: Counter -> its help.
COUNTERS = {
    "posted": "Events stored by this process.",
    "fired": "Events handed to this worker.",
    "redelivered": "Events handed to this worker that had been delivered before.",
    "confirmed": "Events ended by this worker.",
    "released": "Events given back by this worker.",
    "parked": "Events put aside by this worker.",
    "cancelled": "Events cancelled by this process.",
    "dropped": "Events that were too late for this worker, or parked for too long, and ended without a run.",
}


class WorkerCollector(Collector):
    """What one worker has counted, and does.

    Args:
        counters: Of the worker's main process.
        report: Returns what its dispatcher reports; None while there is none.
    """

    def __init__(self, counters: Counters, report: Callable[[], dict[str, Any] | None]) -> None:
        self._counters = counters
        self._report = report

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        report = self._report()
        if report is not None:
            for queue in report["queues"]:
                self._counters.of(queue)  # a rate needs the 0 that it rose from
            yield _gauge("in_flight", "Events that this worker holds.", report["in_flight"])
            yield _gauge("max_events", "Events that this worker may hold.", report["max_events"])
            yield _gauge("paused", "Whether an operator has paused this worker.", report["paused"])
            yield _gauge("redis_failing_seconds", "Since when the timer's Redis fails.", report["redis"]["failing_for"])
        queues = sorted(self._counters.queues.items())
        for name, told in COUNTERS.items():
            family = CounterMetricFamily(f"celery_dtimer_events_{name}", told, labels=["queue"])
            for queue, counts in queues:
                if queue or getattr(counts, name):
                    family.add_metric([label(queue)], getattr(counts, name))
            yield family
        lateness = HistogramMetricFamily(
            "celery_dtimer_lateness_seconds", "From due to handed to this worker.", labels=["queue"]
        )
        for queue, counts in queues:
            if queue:
                bounds = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
                buckets = list(zip(bounds, accumulate(counts.lateness), strict=True))
                lateness.add_metric([label(queue)], buckets, counts.lateness_sum)
        yield lateness


class TimerCollector(Collector):
    """What the timer holds: the same from every worker, so take the maximum, not the sum.

    Args:
        extension: The app's timer.
        is_failing: Whether its Redis is known not to answer: it is not waited for then.
    """

    def __init__(self, extension: Extension, is_failing: Callable[[], bool] = lambda: False) -> None:
        self._extension = extension
        self._is_failing = is_failing

    def collect(self) -> Iterator[Metric]:
        """Yield them; only that Redis does not answer, if so."""
        gauges = limit = None
        try:
            namespace = self._extension.settings.namespace
            if not self._is_failing():
                gauges, limit = read_gauges(self._extension.shards), limit_in_force(self._extension)
        except (DTimerError, RedisError, OSError) as exc:
            logger.debug("dtimer: the timer can't be read for metrics: %r", exc)
        yield _gauge("up", "Whether the timer's Redis has answered this scrape.", gauges is not None)
        if gauges is None:
            return
        of_queue = {
            "pending": "Events that wait for their time, or for a worker.",
            "due": "Pending events that are due by now.",
            "overdue": "Pending events that have been due for more than a second.",
            "leased": "Events in the hands of workers, or released and not claimed again.",
            "held": "Whether the queue is held: nothing of it is claimed.",
        }
        queues = [([label(namespace), label(queue)], of) for queue, of in sorted(gauges.queues.items())]
        for name, told in of_queue.items():
            family = GaugeMetricFamily(f"celery_dtimer_{name}", told, labels=["namespace", "queue"])
            for labels, queue in queues:
                family.add_metric(labels, getattr(queue, name))
            yield family
        ahead = GaugeMetricFamily(
            "celery_dtimer_due_within",
            "Pending events that come due within so many seconds from now.",
            labels=["namespace", "queue", "seconds"],
        )
        for labels, queue in queues:
            for seconds in AHEAD:
                ahead.add_metric([*labels, str(seconds)], getattr(queue, f"due_within_{seconds}"))
        yield ahead
        of_all = {
            "holds": ("Holds, of queues and of tasks.", gauges.holds),
            "parked": ("Events that are kept aside.", gauges.parked),
            "damaged": ("Records that can't be read.", gauges.damaged),
            "oldest_overdue_seconds": ("Age of the due event that has waited longest.", gauges.oldest_overdue),
        }
        if limit is not None and limit.rate is not None:
            of_all["catch_up_rate"] = ("Long overdue events that the fleet claims in a second at most.", limit.rate)
        for name, (told, value) in of_all.items():
            family = GaugeMetricFamily(f"celery_dtimer_{name}", told, labels=["namespace"])
            family.add_metric([label(namespace)], value)
            yield family


class Endpoint:
    """An HTTP server of metrics, in threads of its own.

    Args:
        host: The address to listen on.
        port: Its port.
        collectors: What it serves.

    Raises:
        OSError: The port is taken, or the address is none of this host.
    """

    def __init__(self, host: str, port: int, *collectors: Collector) -> None:
        # Not the registry of all: what a project has in there is its own, and may be of many processes.
        registry = CollectorRegistry(auto_describe=False)
        for collector in collectors:
            registry.register(collector)
        self._server, self.thread = start_http_server(port, host, registry)
        tell_of_forks(self)

    def forked(self) -> None:
        """Close the child's copy of the socket: the port would stay taken as long as the child lives."""
        self._server.socket.close()

    def close(self) -> None:
        """Serve no more, within half a second."""
        # Its loop looks up every half second, and the end of a worker is not to wait for that.
        threading.Thread(target=self._close, name="dtimer-metrics-end", daemon=True).start()

    def _close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _gauge(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"celery_dtimer_{name}", told, value=float(value))
