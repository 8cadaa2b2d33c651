"""How a task is posted: post_in, post_at and post, for every task of an app, and @dtimer_task."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MethodType
from typing import Any

from celery import Task, shared_task

from celery_dtimer.errors import InvalidDelayError, InvalidEventError, PayloadError
from celery_dtimer.extension import extension_of
from celery_dtimer.posting.producer import Posting
from celery_dtimer.posting.result import TimerResult
from celery_dtimer.posting.when import eta_of
from celery_dtimer.timer.events import ON_CONFLICT, check_id, check_max_redeliveries
from celery_dtimer.timer.times import Delay, delay_to_ms, max_wait_to_ms

#: Options of ``post`` that are the timer's, not ``apply_async``'s.
TIMER_OPTIONS = ("max_redeliveries", "on_conflict", "max_wait")

#: The option that carries a Posting from here through ``apply_async`` to ``send_task``.
POSTING_OPTION = "dtimer"


class DTimerTask(Task):  # type: ignore[misc] # Celery ships no types
    """A task that can be posted. ``install(app)`` gives the same methods to every task of the app."""

    #: Defaults for the timer's options of ``post``.
    dtimer_options: Mapping[str, Any] = {}

    def post_in(self, delay: Delay, /, *args: Any, **kwargs: Any) -> TimerResult:
        """Run the task with these arguments, ``delay`` from now: seconds or a timedelta, negative means now.

        Raises:
            InvalidEventError: The delay or the arguments are nothing that can be stored; nothing is stored.
            TimerUnavailableError: The timer's Redis did not answer; the task may or may not be stored.
            TimerFullError: The timer's Redis is at its maxmemory.
        """
        return post(self, args, kwargs, delay=delay)

    def post_at(self, eta: datetime | str, /, *args: Any, **kwargs: Any) -> TimerResult:
        """Run the task with these arguments at ``eta``, a datetime; a naive one is in UTC, as everywhere in Celery.

        Raises:
            InvalidEventError: The eta or the arguments are nothing that can be stored; nothing is stored.
            TimerUnavailableError: The timer's Redis did not answer; the task may or may not be stored.
            TimerFullError: The timer's Redis is at its maxmemory.
        """
        return post(self, args, kwargs, eta=eta)

    def post(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        delay: Delay | None = None,
        eta: datetime | str | None = None,
        **options: Any,
    ) -> TimerResult:
        """Run the task later, with every option of ``apply_async`` and of the timer.

        Args:
            args: Positional arguments of the task.
            kwargs: Keyword arguments of the task.
            delay: Seconds or a timedelta from now; negative means now.
            eta: Or the instant.
            options: ``task_id``, ``queue``, ``expires``, ``link`` ... as for ``apply_async``, and
                ``max_redeliveries``, ``on_conflict`` and ``max_wait`` as for ``DTimer.post``.

        Raises:
            InvalidEventError: Something of it can't be stored; nothing is stored.
            EventExistsError: A task of this ``task_id`` is pending, and ``on_conflict`` is "error".
            TimerUnavailableError: The timer's Redis did not answer; the task may or may not be stored.
            TimerFullError: The timer's Redis is at its maxmemory.
        """
        return post(self, args, kwargs, delay=delay, eta=eta, **options)


def post(
    task: Any,
    args: Iterable[Any] | None,
    kwargs: Mapping[str, Any] | None,
    *,
    delay: Delay | None = None,
    eta: Any = None,
    **options: Any,
) -> TimerResult:
    """Post any task of an installed app: the one function behind the methods."""
    extension_of(task.app)
    if (delay is None) == (eta is None):
        raise InvalidDelayError(
            f"give a delay or an eta, and not both: delay={delay!r}, eta={eta!r}",
            argument="delay",
            value=delay,
        )
    for name in ("countdown", "producer", "publisher", "connection"):
        if options.get(name) is not None:
            raise InvalidEventError(f"post() takes delay or eta, and no {name}", argument=name, value=options[name])
    if options.get("task_id") is not None:
        # Celery takes an empty id for none.
        check_id(options["task_id"])
    timer = dict(getattr(task, "dtimer_options", {}))
    if options.get("on_conflict", "postpone") != "postpone":
        # Meant for the task's own mode; the call has another.
        timer.pop("max_wait", None)
    timer.update((name, options.pop(name)) for name in TIMER_OPTIONS if name in options)
    check_timer_options(timer)
    posting = Posting(
        clock="in" if eta is None else "at",
        when_ms=delay_to_ms(delay) if eta is None else eta_of(eta),
        max_redeliveries=timer.get("max_redeliveries"),
        on_conflict=timer.get("on_conflict", "error"),
        max_wait_ms=0 if timer.get("max_wait") is None else max_wait_to_ms(timer["max_wait"]),
    )
    # Text is a sequence too, and a mapping gives its keys; neither is ever meant.
    if args is not None and (isinstance(args, str | bytes | Mapping) or not isinstance(args, Iterable)):
        raise PayloadError(f"args is a sequence of arguments, not {args!r}", argument="args", value=args)
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise PayloadError(f"kwargs is a mapping of arguments, not {kwargs!r}", argument="kwargs", value=kwargs)
    result: TimerResult = task.apply_async(
        args if args is None else tuple(args), kwargs and dict(kwargs), **options, **{POSTING_OPTION: posting}
    )
    return result


def check_timer_options(options: Mapping[str, Any]) -> None:
    """Raise InvalidEventError if one of the timer's options is out of its range."""
    if options.get("max_redeliveries") is not None:
        check_max_redeliveries(options["max_redeliveries"])
    on_conflict = options.get("on_conflict", "error")
    if on_conflict not in ON_CONFLICT:
        raise InvalidEventError(
            f"on_conflict is one of {', '.join(ON_CONFLICT)}, not {on_conflict!r}",
            argument="on_conflict",
            value=on_conflict,
        )
    if options.get("max_wait") is None:
        return
    max_wait_to_ms(options["max_wait"])
    if on_conflict != "postpone":
        raise InvalidEventError(
            f"max_wait bounds on_conflict='postpone', not {on_conflict!r}",
            argument="max_wait",
            value=options["max_wait"],
        )


def equip(task: Any) -> Any:
    """Give a task the methods of DTimerTask, unless it has methods of these names."""
    for method in (DTimerTask.post_in, DTimerTask.post_at, DTimerTask.post):
        if not hasattr(task, method.__name__):
            setattr(task, method.__name__, MethodType(method, task))
    return task


def dtimer_task(*args: Any, **options: Any) -> Any:
    """Make a shared task that can be posted; takes what ``shared_task`` takes, and the timer's options.

    Its defaults are the timer's: the event is confirmed after the task has run (``acks_late``), and redelivered if
    the process that ran it is lost (``reject_on_worker_lost``). Say otherwise where a second run would do harm.

    Example:
        ``@dtimer_task`` or ``@dtimer_task(max_redeliveries=3, time_limit=60)``
    """
    timer = {name: options.pop(name) for name in TIMER_OPTIONS if name in options}
    check_timer_options(timer)
    settings = {
        "base": DTimerTask,
        "acks_late": True,
        "reject_on_worker_lost": True,
        "dtimer_options": timer,
        **options,
    }

    def make(function: Callable[..., Any]) -> Any:
        return shared_task(**settings)(function)

    if len(args) == 1 and callable(args[0]):
        return make(args[0])
    if args:
        raise TypeError("@dtimer_task takes options by their names only")
    return make
