"""What a call of a task passes in Celery and kombu until it is a message, and whether that is all their own.

Whoever patches, overrides or connects to a part of it is to be asked at each call. Where nobody does, the messages of a
task differ in ids and arguments alone, see posting/template.py.
"""

from collections.abc import Callable
from operator import attrgetter
from types import FunctionType, MethodType
from typing import Any, Literal

import celery.app.amqp
import kombu.messaging
from celery import signals
from celery.app.routes import MapRoute, Router
from kombu.messaging import Producer
from kombu.serialization import registry
from kombu.utils.json import JSONEncoder, dumps

from celery_dtimer.accommodations import accommodates

#: What a result backend does when a task is sent, with a producer and the task's id.
OnTaskCall = Callable[[Any, str], Any]

#: What tells others of a call.
_SIGNALS = (signals.before_task_publish, signals.after_task_publish, signals.task_sent)

#: Functions and properties that are passed: of the task's class, the app's, the router's, and the producer's.
_OF_TASK = ("apply_async", "_get_exec_options", "shadow_name")
_OF_APP = ("send_task", "producer_or_acquire", "amqp", "backend", "conf", "current_worker_task", "thread_oid")
_OF_ROUTER = ("route", "expand_destination", "lookup_route", "query_router")
_OF_PRODUCER = ("__init__", "publish", "_publish", "_prepare", "_delivery_details")

#: What an app has of its own: ``send_task`` is ours, ``amqp`` a cached property.
_OWN_OF_APP = frozenset(_OF_APP) - {"send_task", "amqp"}

#: Attributes of a task that its messages depend on; the last ones are not in all supported versions, or in all tasks.
_SAID_BY_TASK = ("name", "typing", "ignore_result", "time_limit", "soft_time_limit", "__v2_compat__", "_exec_options")
_MAYBE_SAID = ("_dump_pydantic_arguments", "__header__")

#: Reads many attributes at once: this is asked at each post.
_of_task, _of_app, _of_router, _of_producer = (
    attrgetter(*names) for names in (_OF_TASK, _OF_APP, _OF_ROUTER, _OF_PRODUCER)
)
_said_by_task = attrgetter(*_SAID_BY_TASK)


def is_of(function: Any, module: str) -> bool:
    """Whether a function was defined in a module: a wrapper may have its name, but not its globals."""
    return type(function) is FunctionType and function.__globals__.get("__name__") == module


@accommodates("all", remove_when="Celery has a public way to make many messages of one task")
def passage(app: Any, task: Any, backend: Any) -> tuple[Any, ...] | None:
    """Return all that a call passes and that can be replaced, to be compared by identity.

    None: somebody is told of the call, or something was replaced for this task or app alone.
    """
    mine, own = vars(app), vars(task)
    amqp = mine.get("amqp")
    made = {} if amqp is None else vars(amqp)
    router = made.get("router")
    if (
        router is None
        or (_SIGNALS[0].receivers or _SIGNALS[1].receivers or _SIGNALS[2].receivers)
        or not (own.keys().isdisjoint(_OF_TASK) and mine.keys().isdisjoint(_OWN_OF_APP))
    ):
        return None
    return (
        *_of_task(type(task)),
        *_said_by_task(task),
        *[getattr(task, name, None) for name in _MAYBE_SAID],
        *_of_app(type(app)),
        mine.get("send_task"),
        amqp,
        amqp.argsrepr_maxsize,
        amqp.kwargsrepr_maxsize,
        made.get("create_task_message"),
        made.get("send_task_message"),
        router,
        router.queues,
        *(router.routes or ()),
        *_of_router(Router),
        *_of_producer(Producer),
        MapRoute.__call__,
        _dumps(),
        celery.app.amqp.saferepr,
        celery.app.amqp.anon_nodename,
        type(backend).on_task_call,
    )


def is_celerys(app: Any, task: Any) -> bool:
    """Whether what a call passes is Celery's and kombu's own code, but for ``app.send_task``, which is ours."""
    kind, kind_of_app, made, router = type(task), type(app), vars(app.amqp), app.amqp.router
    make = made.get("create_task_message")
    return (
        all(is_of(getattr(kind, name), "celery.app.task") for name in _OF_TASK)
        and not task.__v2_compat__
        and getattr(task, "_dump_pydantic_arguments", None) is None
        and all(is_of(_function(getattr(kind_of_app, name)), "celery.app.base") for name in _OF_APP)
        and type(make) is MethodType
        and is_of(make.__func__, "celery.app.amqp")
        and make.__func__.__name__ == "as_task_v2"
        and is_of(made.get("send_task_message"), "celery.app.amqp")
        and type(router) is Router
        and all(is_of(getattr(Router, name), "celery.app.routes") and name not in vars(router) for name in _OF_ROUTER)
        and all(type(route) is MapRoute for route in router.routes or ())
        and is_of(MapRoute.__call__, "celery.app.routes")
        and all(is_of(getattr(Producer, name), "kombu.messaging") for name in _OF_PRODUCER)
        and is_of(_function(_dumps()), "kombu.serialization")
        and is_of(celery.app.amqp.saferepr, "celery.utils.saferepr")
        and is_of(celery.app.amqp.anon_nodename, "celery.utils.nodenames")
    )


def _dumps() -> Any:
    """Return the function by which a producer serializes."""
    return vars(kombu.messaging)["dumps"]


def _function(found: Any) -> Any:
    """Return the function behind a property or a bound method."""
    for name in ("fget", "func", "__func__"):
        found = getattr(found, name, found)
    return found


def on_task_call(backend: Any) -> OnTaskCall | Literal[False] | None:
    """Return what a result backend does when a task is sent, if it needs no producer for that.

    None: nothing. False: it may need one.
    """
    kind, own = type(backend).on_task_call, vars(backend).get("on_task_call")
    if own is None and is_of(kind, "celery.backends.base"):
        return None
    if (own is None or hasattr(own, "puts_off")) and is_of(kind, "celery.backends.redis"):
        call: OnTaskCall = backend.on_task_call
        return call
    return False


@accommodates("all", remove_when="kombu has a public name for the function of a serializer")
def encoder_of(serializer: str | None) -> Callable[[Any], str | bytes] | None:
    """Return the function of a serializer; None if it has none."""
    codec = registry._encoders.get(serializer)  # noqa: SLF001 - see above
    return None if codec is None else codec.encoder


def kept_encoder(encoder: Callable[[Any], str | bytes]) -> Callable[[Any], str | bytes]:
    """Return the function of a serializer that is used many times: kombu's for JSON makes an encoder at each call."""
    return JSONEncoder().encode if encoder is dumps else encoder
