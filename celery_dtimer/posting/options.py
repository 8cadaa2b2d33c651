"""The options of a post beside the task's arguments: which there are, and which are refused."""

from collections.abc import Mapping
from difflib import get_close_matches
from inspect import signature
from typing import Any

from celery_dtimer.errors import InvalidDelayError, InvalidEventError
from celery_dtimer.posting.keys import check_key
from celery_dtimer.timer.checks import check_conflict, check_max_wait, check_tags
from celery_dtimer.timer.options import GRACE, MAX_REDELIVERIES, MISFIRE
from celery_dtimer.timer.shown import wrong
from celery_dtimer.timer.times import delay_to_ms, seconds_of

#: The option that carries a Posting from ``post`` through ``apply_async`` to ``send_task``.
POSTING_OPTION = "dtimer"

#: Options of ``post`` that are the timer's, not ``apply_async``'s.
TIMER_OPTIONS = ("max_redeliveries", "on_conflict", "max_wait", "key", "jitter", "tags")

#: Options of a task that its worker reads, and no call has.
WORKER_OPTIONS = ("misfire", "grace")

#: The parameters of ``Celery.send_task`` in their order. Not read from the method, which may be patched.
SEND_TASK = (
    *("name", "args", "kwargs", "countdown", "eta", "task_id", "producer", "connection", "router", "result_cls"),
    *("expires", "publisher", "link", "link_error", "add_to_parent", "group_id", "group_index", "retries", "chord"),
    *("reply_to", "time_limit", "soft_time_limit", "root_id", "parent_id", "route_name", "shadow", "chain"),
    *("task_type", "replaced_task_nesting"),
)

#: Options that a post refuses, and why; None is as good as left out.
REFUSED = {
    "countdown": "use delay={value!r}",
    **dict.fromkeys(
        ("producer", "publisher", "connection"),
        "it stores the task in the timer's Redis, and sends nothing to a broker",
    ),
    **dict.fromkeys(("name", "task_type"), "the task has it"),
    **dict.fromkeys(WORKER_OPTIONS, "it is an option of the task: @dtimer_task({name}={value!r})"),
    "spread": "it is an option of post_many()",
    POSTING_OPTION: f"the timer's options are {', '.join(TIMER_OPTIONS)}",
}

#: Options that Celery and kombu understand, and the properties that AMQP has for a message.
KNOWN = {*SEND_TASK} - {*REFUSED} | {
    *("app_id", "argsrepr", "compression", "confirm_timeout", "content_encoding", "content_type", "correlation_id"),
    *("declare", "delivery_mode", "exchange", "exchange_type", "expiration", "headers", "ignore_result", "immediate"),
    *("kwargsrepr", "mandatory", "message_id", "priority", "queue", "retry", "retry_policy", "routing_key"),
    *("serializer", "stamped_headers", "timeout", "timestamp", "type", "user_id"),
}

#: Names as alike as "expire" and "expires", and no less.
ALIKE = 0.8


def check_options(task: Any, options: Mapping[str, Any]) -> None:
    """Raise InvalidEventError for an option that a post refuses, or a known one that is misspelt.

    Any other is left alone: Celery takes it for a property of the message, and a router or a task class may read it.
    """
    if not options:
        return
    for name in REFUSED.keys() & options.keys():
        value = options[name]
        if value is not None:
            raise InvalidEventError(
                f"post() takes no {name}: {REFUSED[name].format(name=name, value=value)}", argument=name, value=value
            )
    unknown = options.keys() - KNOWN - REFUSED.keys()
    if not unknown:
        return
    own = {*signature(task.apply_async).parameters, *(options.get("stamped_headers") or ())}
    for name in sorted(unknown - own):
        for meant in get_close_matches(name, [*KNOWN, *TIMER_OPTIONS, "delay"], n=1, cutoff=ALIKE):
            raise InvalidEventError(f"post() takes no {name}: is {meant} meant?", argument=name, value=options[name])


def merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the timer's options of a task or a call, with the defaults for those that are not given."""
    if given.get("on_conflict", "postpone") != "postpone":
        # Meant for the mode of the defaults.
        defaults = {name: value for name, value in defaults.items() if name != "max_wait"}
    return {**defaults, **given}


def checked(options: Mapping[str, Any], *, on_conflict: str = "error") -> dict[str, Any]:
    """Return the timer's options of a task or a call as arguments of a Posting; key and jitter are only checked.

    Args:
        options: The caller's.
        on_conflict: The default of that option.

    Raises:
        InvalidEventError: One of them is unknown, or out of its range.
    """
    for name in options:
        if name not in TIMER_OPTIONS and name not in WORKER_OPTIONS:
            raise InvalidEventError(
                f"an option of the timer must be one of {', '.join((*TIMER_OPTIONS, *WORKER_OPTIONS))}, got {name}",
                argument=name,
                value=options[name],
            )
    check_key(options.get("key"))
    jitter_of(options)
    for name, option in (("misfire", MISFIRE), ("grace", GRACE)):
        if options.get(name) is not None:
            option.check(options[name])
    count = options.get("max_redeliveries")
    on_conflict = check_conflict(options.get("on_conflict", on_conflict))
    return {
        "max_redeliveries": None if count is None else MAX_REDELIVERIES.check(count),
        "on_conflict": on_conflict,
        "max_wait_ms": check_max_wait(options.get("max_wait"), on_conflict),
        "tags": () if options.get("tags") is None else check_tags(options["tags"]),
    }


def jitter_of(options: Mapping[str, Any]) -> int:
    """Return the longest random delay that is added, in milliseconds."""
    return span_of(options.get("jitter"), "jitter")


def span_of(span: Any, argument: str) -> int:
    """Return a span of time in milliseconds, 0 for None.

    Raises:
        InvalidDelayError: It is no span, or negative.
    """
    if span is None:
        return 0
    span_ms = delay_to_ms(span, argument)
    if not span_ms and seconds_of(span):
        raise wrong(argument, "0 or more seconds, or a timedelta", span, "", InvalidDelayError)
    return span_ms
