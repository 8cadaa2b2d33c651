"""Values of callers as text, for an error, a log line or the store. Their classes may raise instead."""

from celery_dtimer.errors import InvalidEventError
from celery_dtimer.timer.legible import legible


def shown(thing: object) -> str:
    """Return the repr, made legible, and never raise: the repr of a very long whole number does."""
    try:
        text = repr(thing)
    except BaseException:  # noqa: BLE001 - a class of the caller's may raise anything
        text = f"one {type(thing).__name__} that can't be shown"
    return legible(text)


def last_line(exc: BaseException) -> str:
    """Return the last line of an exception's traceback, its type and message, made legible; never raise.

    Not with the traceback module: notes of the exception would stand behind it.
    """
    kind = type(exc)
    module = "" if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}."
    name = module + kind.__qualname__
    try:
        text = str(exc)
    except BaseException:  # noqa: BLE001 - a class of the caller's may raise anything
        text = "its message can't be shown"
    return legible(f"{name}: {text}" if text else name)


def wrong(
    argument: str, wanted: str, value: object, hint: str = "", error: type[InvalidEventError] = InvalidEventError
) -> InvalidEventError:
    """Return the error for a wrong value of an argument: ``delay must be ..., got 'soon' (str)``, and a hint."""
    kind = "" if value is None else f" ({type(value).__name__})"
    return error(f"{argument} must be {wanted}, got {shown(value)}{kind}{hint}", argument=argument, value=value)
