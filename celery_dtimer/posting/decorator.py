"""@dtimer_task: a shared task with the timer's own defaults, in the task class of each app. @timed: other tasks."""

from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Literal, TypeVar, Unpack, cast, overload

from celery import Task, shared_task

from celery_dtimer.posting.generic import P, R
from celery_dtimer.posting.options import TIMER_OPTIONS, WORKER_OPTIONS, checked, merged
from celery_dtimer.posting.signatures import TaskOptions
from celery_dtimer.posting.task import METHODS, DTimerTask

#: The ``self`` of a bound task: of any class of tasks.
Bound = TypeVar("Bound", bound="Task[..., Any]")


def timed(task: Callable[P, R]) -> DTimerTask[P, R]:
    """Tell type checkers that a task of an installed app can be posted, whatever its decorator. Returns the task.

    What they know of its parameters and its result, they still know.
    """
    # Left unread: if it were read, the app would make its tasks now.
    return cast("DTimerTask[P, R]", task)


@overload
def dtimer_task(
    fun: Callable[P, R], /, *, bind: Literal[False] = False, **options: Unpack[TaskOptions]
) -> DTimerTask[P, R]: ...
@overload
def dtimer_task(
    *, bind: Literal[False] = False, **options: Unpack[TaskOptions]
) -> Callable[[Callable[P, R]], DTimerTask[P, R]]: ...
@overload
def dtimer_task(
    *, bind: Literal[True], **options: Unpack[TaskOptions]
) -> Callable[[Callable[Concatenate[Bound, P], R]], DTimerTask[P, R]]: ...
def dtimer_task(*args: Any, **options: Any) -> Any:
    """Make a shared task that can be posted; takes the options of ``shared_task``, and the timer's.

    Its defaults are the timer's: the event is confirmed after the task has run (``acks_late``), and redelivered if
    the process that ran it is lost (``reject_on_worker_lost``). Override them where a second run would do harm: here,
    or in the task class of the app, whose attributes and methods the task has.

    Example:
        ``@dtimer_task`` or ``@dtimer_task(max_redeliveries=3, key="reindex:{order_id}")``
    """
    timer = {name: options.pop(name) for name in (*TIMER_OPTIONS, *WORKER_OPTIONS) if name in options}
    checked(timer)
    settings: dict[str, Any] = {name: _Default(method) for name, method in METHODS.items()}
    settings |= {"acks_late": _Default(True), "reject_on_worker_lost": _Default(True)}
    settings |= {"dtimer_options": _TimerOptions(timer), **options}

    if len(args) == 1 and callable(args[0]):
        return shared_task(**settings)(args[0])
    if args:
        raise TypeError("@dtimer_task takes options by their names only")
    return shared_task(**settings)


class _Default:
    """Becomes an attribute of the class that Celery makes for a task, if no base of that class has it.

    Each app makes a class of its own of a shared task, from its own task class or the ``base`` given.
    """

    def __init__(self, value: Any) -> None:
        self._value = value

    def __set_name__(self, owner: type, name: str) -> None:
        # Celery's own Task has None where the configuration decides.
        if getattr(super(owner, owner), name, None) is None:
            setattr(owner, name, self._value)
        else:
            delattr(owner, name)


class _TimerOptions(dict[str, Any]):
    """Options for the timer, which go before those of the task class."""

    def __set_name__(self, owner: type, name: str) -> None:
        inherited = getattr(super(owner, owner), name, None) or {}
        # Anything else is refused at the post, by the task's name.
        setattr(owner, name, merged(inherited, self) if isinstance(inherited, Mapping) else inherited)
