"""What is known of the messages of a task, as long as nothing has changed that they depend on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MethodType
from typing import Any, NamedTuple

from celery.app.defaults import DEFAULTS

from celery_dtimer.celery_patches.passage import OnTaskCall, encoder_of, is_celerys, is_of, on_task_call, passage
from celery_dtimer.extension import extension_of, same
from celery_dtimer.posting.template import Lesson, Template

#: The attribute of a task that holds what is known of its messages, by whether a task posts them.
ATTRIBUTE = "_dtimer_known"

#: The module of the function that install() has put in place of ``app.send_task``.
SENDING = "celery_dtimer.posting.sending"

#: The setting for the levels of arguments that Celery shows, and how many they were before it had that.
MAX_LEVELS, LEVELS = "task_repr_maxlevels", 3


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a task's messages.

    Attributes:
        process: The process that it is known in: messages have its name.
        seen: The app's configuration then.
        passed: What a call passed in Celery then.
        template: None: Celery has to make each of them.
        serializer: The name of the template's serializer, and its function.
        route: What ``task_routes`` said of the task.
        policy: The publish retry policy, the configuration's own; None not to retry.
    """

    process: int
    seen: tuple[Any, ...]
    passed: tuple[Any, ...]
    template: Template | None = None
    serializer: tuple[str | None, Any] = (None, None)
    route: Any = None
    policy: Mapping[str, Any] | None = None

    def holds(self, task: Any, seen: tuple[Any, ...], passed: tuple[Any, ...]) -> bool:
        """Whether messages of the task are as they were."""
        if self.process != os.getpid() or self.seen is not seen or not same(self.passed, passed):
            return False
        if self.template is None:
            return True
        queue, queues = self.template.queue, _router_of(task).queues
        return (
            not queues.aliases
            and queues.get(queue.name) is queue
            and queue.exchange is self.template.exchange
            and queue.exchange.type == "direct"
            and encoder_of(self.serializer[0]) is self.serializer[1]
            and _route_of(task) == self.route
        )


class Call(NamedTuple):
    """A post whose message differs from others of its task in arguments and ids alone, or all of one ``post_many``.

    Attributes:
        seen: The app's configuration.
        passed: What the call passes in Celery.
        tell_backend: What the result backend does when a task is sent.
        parent: The task that posts, if one does.
        known: None: it is to be learned from this one.
    """

    seen: tuple[Any, ...]
    passed: tuple[Any, ...]
    tell_backend: OnTaskCall | None
    parent: Any
    known: Known | None


def call_of(task: Any) -> Call | None:
    """Return the call that a post is; None if somebody else may have a hand in its message."""
    app = task.app
    backend, parent, seen = app.backend, app.current_worker_task, extension_of(app).seen()
    passed = passage(app, task, backend)
    if passed is None:
        return None
    tell_backend = None if task.ignore_result else on_task_call(backend)
    known_by: dict[bool, Known] = vars(task).setdefault(ATTRIBUTE, {})
    known = known_by.get(parent is not None)
    if known is None or not known.holds(task, seen, passed):
        if not _is_plain(task, parent):
            known_by[parent is not None] = Known(os.getpid(), seen, passed)
            return None
        known = None
    if tell_backend is False or (known is not None and known.template is None):
        return None
    return Call(seen, passed, tell_backend, parent, known)


def learn(task: Any, call: Call, lesson: Lesson) -> None:
    """Learn from a message that Celery has made, if nothing has changed meanwhile."""
    app = task.app
    amqp, levels = app.amqp, app.conf.task_repr_maxlevels if MAX_LEVELS in DEFAULTS else LEVELS
    known = Known(
        os.getpid(),
        call.seen,
        call.passed,
        Template.learned(lesson, (amqp.argsrepr_maxsize, amqp.kwargsrepr_maxsize), levels),
        (lesson.serializer, encoder_of(lesson.serializer)),
        _route_of(task),
        app.conf.task_publish_retry_policy if app.conf.task_publish_retry else None,
    )
    if known.holds(task, extension_of(app).seen(), passage(app, task, app.backend) or ()):
        vars(task)[ATTRIBUTE][call.parent is not None] = known


def _is_plain(task: Any, parent: Any) -> bool:
    """Whether nobody but Celery makes messages of the task, and nothing else is done with them."""
    app = task.app
    send, conf = vars(app).get("send_task"), app.conf
    native = getattr(send, "__wrapped__", None)
    return (
        is_of(send, SENDING)
        and type(native) is MethodType
        and native.__self__ is app
        and is_of(native.__func__, "celery.app.base")
        and is_celerys(app, task)
        and not conf.task_always_eager
        and not conf.task_send_sent_event
        and not (parent is not None and conf.task_inherit_parent_priority)
    )


def _router_of(task: Any) -> Any:
    # Celery's cached properties take a microsecond each.
    return vars(vars(task.app)["amqp"])["router"]


def _route_of(task: Any) -> Any:
    """Return what the routes say of a task; they are plain ones, which look at its name only."""
    router = _router_of(task)
    return router.lookup_route(task.name, (), {}, {}, task) if router.routes else None
