"""Accommodations of a worker and its requests, for firing."""

from collections.abc import Callable
from datetime import tzinfo
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from celery.app.task import Task
from celery.signals import task_received
from celery.worker import state
from celery.worker.strategy import default
from kombu.message import Message
from kombu.serialization import dumps
from vine import promise

from celery_dtimer.accommodations import accommodates
from celery_dtimer.extension import DELIVERY_HEADER, DeliveryInfo


@accommodates("all", remove_when="kombu's Message can be referred to weakly")
class EventMessage(Message):
    """A delivery as a kombu message. Unlike kombu's own, it can be referred to weakly.

    Attributes:
        due: The monotonic instant before which no pool is given its task, in seconds.
        ended_well: Whether its task has run and succeeded.
        error: The last line of its task's traceback; empty if it has not failed.
    """

    due = 0.0
    ended_well = False
    error = ""


@accommodates("celery before 5.7", remove_when="celery>=5.7", celery=10263)
def ack_at_once(call_soon: Callable[..., Any], act: tuple[Callable[..., Any]], **options: Any) -> Any:
    """Return vine's promise of an ack or a reject that is not put off, where there is no hub.

    Celery puts it off until the broker's connection has a message, or for two seconds. A hub puts it off for a moment,
    in which more of them may come, for one call of the listener's.
    """
    del call_soon
    return promise(*act, **options)


@accommodates("all", remove_when="a worker ends an expired task whatever strategy it has")
def handler_of_expired(consumer: Any, name: str, handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what ends an expired task: the consumer's handler, unless the task has a strategy of its own.

    That need not look at ``expires``: celery-batches' does not, and would run the task.

    Args:
        consumer: The worker's ``celery.worker.consumer.Consumer``.
        name: The registered name of the task.
        handler: The consumer's.
    """
    task = consumer.app.tasks[name]
    if task.Strategy == Task.Strategy:
        return handler

    def handle(message: Any) -> None:
        payload = None if "task" in message.headers else message.decode()
        celerys = default(task, consumer.app, consumer)
        celerys(message, payload, message.ack_log_error, message.reject_log_error, [])

    return handle


@accommodates("all", remove_when="worker_shutting_down is sent before a soft shutdown waits for tasks", celery=9213)
def before_soft_shutdown(worker: Any, act: Callable[[], None]) -> None:
    """Call ``act`` when a worker begins to wait in a soft shutdown: the signal of the shutdown comes after that."""
    wait = worker.wait_for_soft_shutdown

    def wait_for_soft_shutdown() -> Any:
        act()
        return wait()

    worker.wait_for_soft_shutdown = wait_for_soft_shutdown


@accommodates("all", remove_when="a reconnect to the broker forgets no request that runs")
def in_pool() -> int:
    """Return the number of tasks that wait or run in the pool; one of Celery's two sets forgets some at a reconnect."""
    return max(len(state.reserved_requests), len(state.active_requests))


@accommodates("all", remove_when="Celery's sets of requests can be read in any thread", celery=7162)
def requests_in_pool() -> list[Any]:
    """Return the requests of these tasks; none if another thread adds one meanwhile."""
    try:
        return list(state.reserved_requests)
    except RuntimeError:
        return []


class PastEta(str):
    """The eta of a request that waited in the timer: ISO 8601 text, and false.

    Celery's strategy sends ``req.eta and req.eta.isoformat()`` to the monitors, and holds the task ``if req.eta``.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        """Say that the worker has nothing to hold the task for."""
        return False

    def __reduce__(self) -> Any:
        """Be pickled as plain text: monitors may not have celery-dtimer."""
        return str, (str(self),)

    def isoformat(self) -> str:
        """Return the text, for those who take a request's eta for a datetime."""
        return str(self)


@accommodates("all", remove_when="a request can have an eta that its worker does not wait for")
def show_etas(app: Any = None) -> None:
    """Let every request of this process that the timer fired show when it was due; once more changes nothing.

    Args:
        app: One whose settings stay as they are from now on; a look at them takes longer than all else here.
    """
    if app is not None:
        _settings[app] = _settings_of(app)
    task_received.connect(_show_eta)


#: What is known of the settings of an app: its time zone, and whether monitors can be sent a PastEta.
_settings: WeakKeyDictionary[Any, tuple[tzinfo, bool]] = WeakKeyDictionary()


def _settings_of(app: Any) -> tuple[tzinfo, bool]:
    return app.timezone, _can_be_sent(app.conf.event_serializer)


def _show_eta(request: Any, **more: Any) -> None:
    # Called when a request is made, before monitors are told of it, and before Celery looks whether to hold it.
    del more
    delivery = request.request_dict.get(DELIVERY_HEADER)
    if not isinstance(delivery, DeliveryInfo):
        return
    timezone, can_be_sent = _settings.get(request.app) or _settings_of(request.app)
    text = delivery.due_at.astimezone(timezone).isoformat()
    # The task's own request is made of this, in the pool.
    request.request_dict["eta"] = text
    if can_be_sent:
        request._eta = PastEta(text)  # noqa: SLF001 - there is no other way to set it once the request is made


@cache
def _can_be_sent(serializer: str) -> bool:
    """Whether the serializer of monitoring events takes a PastEta for the text that it is; YAML's does not."""
    try:
        dumps({"eta": PastEta("")}, serializer=serializer)
    except Exception:  # noqa: BLE001 - whatever a serializer raises
        return False
    return True
