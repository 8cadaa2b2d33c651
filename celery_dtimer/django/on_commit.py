"""Posts that are made when a transaction has been committed, and not at all if it is rolled back."""

from collections.abc import Iterable, Mapping
from types import MethodType
from typing import Any, Unpack

from celery.contrib.django.task import DjangoTask
from celery.utils import uuid
from django.db import transaction
from kombu.exceptions import EncodeError
from kombu.serialization import dumps

from celery_dtimer import DTimerTask, TimerResult
from celery_dtimer.celery_patches.apps import sends_as_given
from celery_dtimer.errors import PayloadError
from celery_dtimer.posting.calling import send
from celery_dtimer.posting.generic import P, R_co
from celery_dtimer.posting.preparing import prepare
from celery_dtimer.posting.signatures import Eta, PostOptions
from celery_dtimer.posting.task import hint_at_post
from celery_dtimer.timer.times import Delay


class DTimerDjangoTask(DTimerTask[P, R_co], DjangoTask):  # type: ignore[misc] # Celery ships no types
    """A task that can be posted after a commit, as a base for classes of tasks, and for type checkers.

    No task needs it: the Django app gives the same methods to every task of an installed app, whatever its class.
    """

    def post_in_on_commit(self, delay: Delay, /, *args: P.args, **kwargs: P.kwargs) -> TimerResult[R_co]:
        """Run the task with these arguments, ``delay`` from the commit of the default database's transaction.

        Outside of a transaction it is posted at once. Its event exists from the commit on; its id is known now.

        Raises:
            InvalidEventError: The delay or the arguments can't be stored; nothing will be.
            TimerUnavailableError: At the commit: the timer's Redis did not answer.
            TimerFullError: At the commit: the timer's Redis is at its maxmemory.
        """
        with hint_at_post(kwargs, "delay", "post_on_commit", ("using", "robust")):
            return post_on_commit(self, args, kwargs, {}, delay=delay)

    def post_at_on_commit(self, eta: Eta, /, *args: P.args, **kwargs: P.kwargs) -> TimerResult[R_co]:
        """Run the task with these arguments at ``eta``, if the default database's transaction is committed.

        Raises:
            InvalidEventError: The eta or the arguments can't be stored; nothing will be.
            TimerUnavailableError: At the commit: the timer's Redis did not answer.
            TimerFullError: At the commit: the timer's Redis is at its maxmemory.
        """
        with hint_at_post(kwargs, "eta", "post_on_commit", ("using", "robust")):
            return post_on_commit(self, args, kwargs, {}, eta=eta)

    def post_on_commit(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        delay: Delay | None = None,
        eta: Eta | None = None,
        using: str | None = None,
        robust: bool = False,
        **options: Unpack[PostOptions],
    ) -> TimerResult[R_co]:
        """Run the task later, if a transaction is committed, with every option of ``post``.

        Args:
            args: Positional arguments of the task.
            kwargs: Keyword arguments of the task.
            delay: Seconds or a timedelta from the commit; negative means then.
            eta: Or the instant.
            using: The database whose transaction it is; None: the default one.
            robust: Whether an error of the post is only logged, so that what else waits for the commit is done.
            options: Those of ``post``.

        Raises:
            InvalidEventError: An argument can't be stored; nothing will be.
            EventExistsError: At the commit: a task of this ``task_id`` is pending, and ``on_conflict`` is "error".
            TimerUnavailableError: At the commit: the timer's Redis did not answer.
            TimerFullError: At the commit: the timer's Redis is at its maxmemory.
        """
        return post_on_commit(self, args, kwargs, dict(options), delay=delay, eta=eta, using=using, robust=robust)


#: The methods by which a task is posted after a commit.
METHODS = {
    method.__name__: method
    for method in (
        DTimerDjangoTask.post_in_on_commit,
        DTimerDjangoTask.post_at_on_commit,
        DTimerDjangoTask.post_on_commit,
    )
}


def equip(task: Any) -> Any:
    """Give a task the methods of DTimerDjangoTask, unless it has methods of these names."""
    for name, method in METHODS.items():
        if not hasattr(task, name):
            setattr(task, name, MethodType(method, task))
    return task


def post_on_commit(
    task: Any,
    args: Iterable[Any] | None,
    kwargs: Mapping[str, Any] | None,
    options: dict[str, Any],
    *,
    delay: Delay | None = None,
    eta: Any = None,
    using: str | None = None,
    robust: bool = False,
) -> TimerResult[Any]:
    """Check a post now, and make it after the commit: the function behind the methods."""
    call_args, call_kwargs = prepare(task, args, kwargs, options, delay=delay, eta=eta)
    _check_call(task, call_args or (), call_kwargs or {}, options.get("serializer"))
    if not options.get("task_id"):
        options["task_id"] = uuid()
    sent: list[TimerResult[Any]] = []

    def post() -> None:
        sent.append(send(task, call_args, call_kwargs, options))

    transaction.on_commit(post, using=using, robust=robust)
    # Outside of a transaction, and in eager mode then, there is more to tell than the id.
    result: TimerResult[Any] = sent[0] if sent else task.AsyncResult(options["task_id"])
    return result


def _check_call(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any], serializer: str | None) -> None:
    """Check here what Celery checks when it makes the message: in a hook of a commit, it is too late.

    Raises:
        TypeError: They are no arguments of this task.
        PayloadError: The serializer refuses them.
    """
    if not sends_as_given(task):
        return
    if task.typing:
        task.__header__(*args, **kwargs)
    serializer = serializer or task.serializer or task.app.conf.task_serializer
    try:
        dumps((args, kwargs), serializer)
    except (EncodeError, TypeError, ValueError) as exc:
        raise PayloadError(
            f"the arguments of {task.name} must suit the serializer {serializer}: {exc}", argument="args", value=args
        ) from exc
