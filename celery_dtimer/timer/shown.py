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


def wrong(
    argument: str, wanted: str, value: object, hint: str = "", error: type[InvalidEventError] = InvalidEventError
) -> InvalidEventError:
    """Return the error for a wrong value of an argument: ``delay must be ..., got 'soon' (str)``, and a hint."""
    kind = "" if value is None else f" ({type(value).__name__})"
    return error(f"{argument} must be {wanted}, got {shown(value)}{kind}{hint}", argument=argument, value=value)
