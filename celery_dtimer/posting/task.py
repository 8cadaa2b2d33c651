"""Tasks that can be posted: post_in, post_at and post for every task of an app."""

from collections.abc import Iterable, Mapping
from functools import partial
from types import MethodType
from typing import Any, Unpack

from celery_dtimer.extension import extension_of
from celery_dtimer.posting.awaiting import awaited
from celery_dtimer.posting.bulk import Batch, TaskPost, check_common, check_posts
from celery_dtimer.posting.calling import send
from celery_dtimer.posting.generic import GenericTask, P, R_co
from celery_dtimer.posting.options import KNOWN, TIMER_OPTIONS, checked, merged, span_of
from celery_dtimer.posting.preparing import prepare, timer_options_of
from celery_dtimer.posting.result import ResultsOf, TimerResult
from celery_dtimer.posting.signatures import Eta, PostManyOptions, PostOptions
from celery_dtimer.timer.times import Delay


class DTimerTask(GenericTask[P, R_co]):
    """A task that can be posted, as a base for classes of tasks, and for type checkers.

    No task needs it: ``install(app)`` gives the same methods to every task of the app, whatever its class.

    For checkers, ``DTimerTask[[str, int], bool]`` takes a str and an int, and returns a bool.
    """

    #: Defaults for the timer's options of ``post``; any class of tasks may have them.
    dtimer_options: Mapping[str, Any] = {}

    def post_in(self, delay: Delay, /, *args: P.args, **kwargs: P.kwargs) -> TimerResult[R_co]:
        """Run the task with these arguments, ``delay`` from now: seconds or a timedelta, negative means now.

        Raises:
            InvalidEventError: The delay or the arguments can't be stored; nothing is stored.
            TimerUnavailableError: The timer's Redis did not answer; the task may or may not be stored.
            TimerFullError: The timer's Redis is at its maxmemory.
        """
        with hint_at_post(kwargs, "delay"):
            return post(self, args, kwargs, {}, delay=delay)

    def post_at(self, eta: Eta, /, *args: P.args, **kwargs: P.kwargs) -> TimerResult[R_co]:
        """Run the task with these arguments at ``eta``, a datetime; a naive one is in UTC, as everywhere in Celery.

        Raises:
            InvalidEventError: The eta or the arguments can't be stored; nothing is stored.
            TimerUnavailableError: The timer's Redis did not answer; the task may or may not be stored.
            TimerFullError: The timer's Redis is at its maxmemory.
        """
        with hint_at_post(kwargs, "eta"):
            return post(self, args, kwargs, {}, eta=eta)

    def post(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        delay: Delay | None = None,
        eta: Eta | None = None,
        **options: Unpack[PostOptions],
    ) -> TimerResult[R_co]:
        """Run the task later, with every option of ``apply_async`` and of the timer.

        Args:
            args: Positional arguments of the task.
            kwargs: Keyword arguments of the task.
            delay: Seconds or a timedelta from now; negative means now.
            eta: Or the instant.
            options: ``task_id``, ``queue``, ``expires``, ``link`` ... as for ``apply_async``, and
                ``max_redeliveries``, ``on_conflict`` and ``max_wait`` as for ``DTimer.post``; and ``key``, which makes
                the id of the arguments if there is no ``task_id``: a format string (``"reindex:{order_id}"``) or a
                function that is called with them; and ``jitter``, seconds or a timedelta: the task is due up to so
                much later, at random.

        Raises:
            InvalidEventError: An argument can't be stored; nothing is stored.
            EventExistsError: A task of this ``task_id`` is pending, and ``on_conflict`` is "error".
            TimerUnavailableError: The timer's Redis did not answer; the task may or may not be stored.
            TimerFullError: The timer's Redis is at its maxmemory.
        """
        return post(self, args, kwargs, dict(options), delay=delay, eta=eta)

    async def apost_in(self, delay: Delay, /, *args: P.args, **kwargs: P.kwargs) -> TimerResult[R_co]:
        """Do what ``post_in`` does, and await that the task is stored; raises what it raises."""
        return await awaited(self.app, partial(self.post_in, delay, *args, **kwargs))

    async def apost_at(self, eta: Eta, /, *args: P.args, **kwargs: P.kwargs) -> TimerResult[R_co]:
        """Do what ``post_at`` does, and await that the task is stored; raises what it raises."""
        return await awaited(self.app, partial(self.post_at, eta, *args, **kwargs))

    async def apost(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        delay: Delay | None = None,
        eta: Eta | None = None,
        **options: Unpack[PostOptions],
    ) -> TimerResult[R_co]:
        """Do what ``post`` does, and await that the task is stored; raises what it raises."""
        return await awaited(self.app, partial(self.post, args, kwargs, delay=delay, eta=eta, **options))

    def post_many(
        self,
        posts: Iterable[TaskPost | tuple[Any, ...] | list[Any]],
        *,
        delay: Delay | None = None,
        eta: Eta | None = None,
        spread: Delay | None = None,
        **options: Unpack[PostManyOptions],
    ) -> list[TimerResult[R_co]]:
        """Run the task later, many times, in batches of some hundred a round trip.

        Celery makes all messages before the first is stored.

        Args:
            posts: Of each, the arguments as a tuple, or a ``TaskPost``, which may have a time and options of its own.
            delay: The delay of those that have none.
            eta: Or the instant.
            spread: Seconds or a timedelta over which they are spread evenly, from there on.
            options: Options of all, as of ``post``; those of a ``TaskPost`` go before them.

        Returns:
            A result of each, in order.

        Raises:
            InvalidEventError: An argument of one of them can't be stored; nothing is stored.
            PostManyError: Not all are stored; it names those that are, and those that may be.
            NotReplicatedError: All are stored, and too few replicas have those that it names.
        """
        return post_many(self, posts, delay=delay, eta=eta, spread=spread, **options)


class hint_at_post:  # noqa: N801 - a context, as a function would make it
    """Adds to the refusal of a keyword argument, which is the task's own, where an option of that name goes.

    Not made by contextlib, which takes three times as long.

    Args:
        kwargs: The keyword arguments.
        when: The option that says the time.
        method: The method that takes options.
        more: Its options beside those of ``post``.
    """

    __slots__ = ("_kwargs", "_method", "_more", "_when")

    def __init__(self, kwargs: Mapping[str, Any], when: str, method: str = "post", more: tuple[str, ...] = ()) -> None:
        self._kwargs, self._when, self._method, self._more = kwargs, when, method, more

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, TypeError):
            for name in self._kwargs.keys() & {*KNOWN, *TIMER_OPTIONS, *self._more}:
                if f"unexpected keyword argument {name!r}" in str(exc):
                    exc.add_note(
                        f"an option of the call goes into {self._method}(args, kwargs, {self._when}=..., {name}=...)"
                    )


#: The methods by which a task is posted.
METHODS: dict[str, Any] = {
    name: vars(DTimerTask)[name]
    for name in ("post_in", "post_at", "post", "post_many", "apost_in", "apost_at", "apost")
}


def post_many(
    task: Any,
    posts: Iterable[TaskPost | tuple[Any, ...] | list[Any]],
    *,
    delay: Delay | None = None,
    eta: Any = None,
    spread: Delay | None = None,
    **options: Any,
) -> list[TimerResult[Any]]:
    """Post any task of an installed app many times: the function behind the method."""
    batch = Batch(extension_of(task.app), options)
    check_common(options)
    common = {name: options[name] for name in TIMER_OPTIONS if name in options}
    timer = checked(merged(timer_options_of(task), common))
    spread_ms = span_of(spread, "spread")
    results: list[TimerResult[Any]] = []
    listed = check_posts(posts)
    for number, one in enumerate(listed):
        batch.shift_ms = spread_ms * number // len(listed)
        its_delay, its_eta = (delay, eta) if one.delay is None and one.eta is None else (one.delay, one.eta)
        try:
            own = {**options, **one.options}
            results.append(post(task, one.args, one.kwargs, own, delay=its_delay, eta=its_eta, batch=batch))
        except Exception as exc:
            exc.add_note(f"it is number {number} of the posts; nothing is stored")
            raise
    batch.store(timer["on_conflict"], timer["max_wait_ms"])
    return results


def post(
    task: Any,
    args: Iterable[Any] | None,
    kwargs: Mapping[str, Any] | None,
    options: dict[str, Any],
    *,
    delay: Delay | None = None,
    eta: Any = None,
    batch: Batch | None = None,
) -> TimerResult[Any]:
    """Post any task of an installed app, or add it to a batch: the function behind the methods."""
    args, kwargs = prepare(task, args, kwargs, options, delay=delay, eta=eta, batch=batch)
    return send(task, args, kwargs, options)


def equip(task: Any) -> Any:
    """Give a task the methods of DTimerTask, unless it has methods of these names."""
    for name, method in METHODS.items():
        if not hasattr(task, name):
            setattr(task, name, MethodType(method, task))
    if not isinstance(vars(task).get("AsyncResult"), ResultsOf):
        task.AsyncResult = ResultsOf(task)
    return task
