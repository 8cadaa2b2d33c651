"""The checks of a post, which are made before Celery makes its message."""

import random
from collections.abc import Iterable, Mapping
from typing import Any

from celery_dtimer.errors import PayloadError
from celery_dtimer.extension import extension_of
from celery_dtimer.posting.bulk import Batch
from celery_dtimer.posting.eta import delay_of, eta_of
from celery_dtimer.posting.keys import id_of
from celery_dtimer.posting.options import POSTING_OPTION, TIMER_OPTIONS, check_options, checked, jitter_of, merged
from celery_dtimer.posting.posting import Posting
from celery_dtimer.timer.checks import check_id
from celery_dtimer.timer.shown import wrong
from celery_dtimer.timer.times import LAST_MS, Delay, check_one_time

#: The timer's arguments of a post without options.
DEFAULTS = checked({})


def prepare(
    task: Any,
    args: Iterable[Any] | None,
    kwargs: Mapping[str, Any] | None,
    options: dict[str, Any],
    *,
    delay: Delay | None = None,
    eta: Any = None,
    batch: Batch | None = None,
) -> tuple[tuple[Any, ...] | None, dict[str, Any] | None]:
    """Check a post, and make its options those of ``apply_async``; nothing is stored.

    Returns:
        The arguments of the task.
    """
    if batch is None:
        extension_of(task.app)
    given = {name: options.pop(name) for name in TIMER_OPTIONS if name in options} if options else {}
    check_options(task, options)
    check_one_time(delay, eta)
    timer = merged(timer_options_of(task), given)
    arguments = checked(timer) if timer else DEFAULTS
    when_ms = delay_of(delay) if eta is None else eta_of(eta)
    if batch is not None:
        when_ms += batch.shift_ms
    if timer.get("jitter") is not None:
        when_ms += random.randint(0, jitter_of(timer))  # noqa: S311 - nobody has to guess it
    posting = Posting("in" if eta is None else "at", min(when_ms, LAST_MS), batch=batch, **arguments)
    if type(args) is not tuple or type(kwargs) is not dict:
        _check_arguments(args, kwargs)
    its_args, its_kwargs = None if args is None else tuple(args), None if kwargs is None else dict(kwargs)
    if options.get("task_id") is not None:
        # Celery takes an empty id for none.
        check_id(options["task_id"])
    elif timer.get("key") is not None:
        options["task_id"] = id_of(task, timer["key"], its_args or (), its_kwargs or {})
    options[POSTING_OPTION] = posting
    return its_args, its_kwargs


def _check_arguments(args: object, kwargs: object) -> None:
    # Text is a sequence too, and a mapping gives its keys; neither is ever meant.
    if args is not None and (isinstance(args, str | bytes | Mapping) or not isinstance(args, Iterable)):
        raise wrong("args", "a sequence of arguments", args, ": for one argument, (argument,)", PayloadError)
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise wrong("kwargs", "a mapping of arguments", kwargs, "", PayloadError)


def timer_options_of(task: Any) -> Mapping[str, Any]:
    """Return the defaults that a task has for the timer's options of ``post``.

    Raises:
        InvalidEventError: They are no mapping.
    """
    options = getattr(task, "dtimer_options", None) or {}
    if not isinstance(options, Mapping):
        raise wrong("dtimer_options", f"a mapping of {', '.join(TIMER_OPTIONS)}", options, f", of task {task.name}")
    return options
