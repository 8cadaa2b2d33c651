"""Accommodations of an app, for posting: to stand before its methods, and to act as its ``send_task``."""

import builtins
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from types import FunctionType, MethodType
from typing import Any

from celery._state import _get_active_apps, get_current_worker_task
from celery.app.task import Context, Task
from celery.local import Proxy, maybe_evaluate
from celery.utils.quorum_queues import detect_quorum_queues
from celery.utils.time import maybe_iso8601, maybe_make_aware
from kombu.entity import Exchange, Queue
from kombu.transport import virtual
from kombu.transport.native_delayed_delivery import calculate_routing_key

from celery_dtimer.accommodations import accommodates
from celery_dtimer.extension import ATTRIBUTE, DELIVERY_HEADER

#: The exchange of Celery's native delayed delivery (``Celery.send_task``).
DELAYED_EXCHANGE = "celery_delayed_27"


@accommodates("all", remove_when="Celery calls a hook before it sends, or registers, a task")
class Native:
    """A method of an app or a task as it would be without the override of ours, looked up whenever it is asked for.

    Monitoring tools and mocks patch the class, before or after ``install``: their methods are still called. Once the
    app itself has an attribute of the method's name, only that one counts, as without us.

    Args:
        owner: The app or the task.
        name: The method's name.
    """

    def __init__(self, owner: Any, name: str) -> None:
        self._owner = owner
        self._name = name
        self._own: Callable[..., Any] | None = vars(owner).get(name)

    @property
    def method(self) -> Callable[..., Any]:
        """The method, bound."""
        if self._own is not None:
            return self._own
        # As Python does it for an object without attributes of its own; super() leaves out the class itself.
        kind = type(self._owner)
        for base in kind.__mro__:
            if self._name in base.__dict__:
                break
        found = base.__dict__[self._name]
        if type(found) is FunctionType:
            return MethodType(found, self._owner)
        bind = getattr(type(found), "__get__", None)
        method: Callable[..., Any] = found if bind is None else bind(found, self._owner, kind)
        return method


@accommodates("all", remove_when="Celery's warnings of a task made twice look past a wrapper's frame")
def as_celerys(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose frame Celery takes for its own, so that its warnings name the user's line.

    It must not use names of its module.
    """
    names = {"__name__": "celery.dtimer", "__builtins__": builtins}
    code, defaults, closure = function.__code__, function.__defaults__, function.__closure__
    return FunctionType(code, names, function.__name__, defaults, closure)


@accommodates("all", remove_when="Celery calls a hook when a task is made, with or without finalizing the app")
def for_each_task(app: Any, equip: Callable[[Any], Any]) -> None:
    """Equip the tasks that an app has, and those that it will have."""

    def equipping(native: Native) -> Callable[..., Any]:
        return as_celerys(lambda *args, **options: equip(native.method(*args, **options)))

    for name in ("_task_from_fun", "register_task"):
        setattr(app, name, equipping(Native(app, name)))
    for task in dict(app._tasks).values():  # noqa: SLF001 - app.tasks would finalize the app
        equip(task)
    # A task that was defined and is not made yet keeps the methods that the app had then.
    for pending in tuple(app._pending):  # noqa: SLF001 - Celery has no public name for them
        pending.__then__(lambda made: equip(maybe_evaluate(made)), pending)


@accommodates("all", remove_when="Celery has a public way to look behind a Proxy")
def behind_proxy(app: Any) -> Any:
    """Return the app itself: ``current_app`` is another one later on."""
    return app._get_current_object() if isinstance(app, Proxy) else app  # noqa: SLF001 - see above


@accommodates("all", remove_when="Celery has a public name for the apps of a process")
def installed_apps() -> list[Any]:
    """Return the apps of this process that have a timer."""
    return [app for app in _get_active_apps() if hasattr(app, ATTRIBUTE)]


@accommodates("all", remove_when="Celery says in public whether a task makes plain arguments of pydantic's models")
def sends_as_given(task: Any) -> bool:
    """Whether a task's message has the arguments of the call: neither its class nor Celery makes others of them."""
    native = type(task).apply_async is Task.apply_async and "apply_async" not in vars(task)
    return native and getattr(task, "_dump_pydantic_arguments", None) is None


@accommodates("all", remove_when="a task can be looked up by its name without finalizing the app")
def known_task(app: Any, name: Any) -> Any:
    """Return a task of the app by its name, or None if this process does not know it."""
    return app._tasks.get(name)  # noqa: SLF001 - app.tasks would finalize the app


@accommodates("all", remove_when="retries and children do not inherit headers that Celery does not know", celery=7555)
def name_delivery_in_requests() -> None:
    """Make the delivery a field of every request: None for a task that the timer did not fire, and not inherited."""
    if not hasattr(Context, DELIVERY_HEADER):
        setattr(Context, DELIVERY_HEADER, None)


@accommodates("all", remove_when="Celery has a public name for the task that a worker runs in this thread")
def running_request() -> Any:
    """Return the request of the task that a worker runs here; ``current_task`` may be one that was called directly."""
    task = get_current_worker_task()
    return None if task is None else task.request


@accommodates("all", remove_when="kombu's Connection can be asked in public to raise errors of kombu's own")
def library_errors(producer: Any) -> AbstractContextManager[None]:
    """Return a context in which a producer raises the same errors as in ``Celery.send_task``."""
    errors: AbstractContextManager[None] = producer.connection._reraise_as_library_errors()  # noqa: SLF001 - see above
    return errors


@accommodates("all", remove_when="Celery makes a message without publishing it, its native delay included", celery=9207)
def set_native_eta(app: Any, call: Mapping[str, Any], body: Any, message: dict[str, Any]) -> None:
    """Put into a message the eta of a call of ``send_task``, and where RabbitMQ's quorum queues would have it wait.

    As ``AMQP.as_task_v2`` and ``Celery.send_task`` do.

    Args:
        app: The Celery app.
        call: The parameters of ``send_task``.
        body: The body; message protocol 1 has the eta there.
        message: What ``Producer.publish`` takes beside it; it is changed.
    """
    countdown, eta = call.get("countdown"), call.get("eta")
    if countdown:
        eta = maybe_make_aware(app.now() + timedelta(seconds=countdown), tz=app.timezone)
    text = eta if isinstance(eta, str) else eta and eta.isoformat()
    (body if isinstance(body, dict) else message["headers"])["eta"] = text
    exchange = message.get("exchange")
    if not text or not exchange:
        return
    if not detect_quorum_queues(app, app.producer_pool.connections.connection.transport.driver_type)[0]:
        return
    declared = [queue.exchange for queue in message.get("declare") or () if isinstance(queue, Queue)]
    if any(getattr(one, "type", None) == "direct" for one in [exchange, *declared]):
        return
    seconds = int((maybe_make_aware(maybe_iso8601(text), app.timezone) - app.now()).total_seconds())
    if seconds >= 1:
        message |= {
            "exchange": Exchange(DELAYED_EXCHANGE, type="topic"),
            "routing_key": calculate_routing_key(seconds, message["routing_key"]),
            "declare": None,
        }


@accommodates("all", remove_when="kombu's Redis transport has a public name for the lists of a queue")
def redis_lists(channel: Any, queue: str) -> list[str]:
    """Return the names of the lists that a queue consists of in Redis, one a priority, without a prefix."""
    return [channel._q_for_pri(queue, step) for step in channel.priority_steps]  # noqa: SLF001 - see above


@accommodates("all", remove_when="kombu's virtual topic exchanges match as AMQP's do: `news.#` with `news`", kombu=2568)
def matches_kombu_topic(pattern: str, routing_key: str) -> bool:
    """Whether a topic matches by the rule of the brokers that have no exchanges: Redis, SQS, memory and so on."""
    topics: Any = virtual.exchange.TopicExchange(channel=None)
    return re.match(topics.key_to_pattern(pattern), routing_key) is not None
