"""Checks of a task's message that Celery does not make, and without which a worker would not survive.

Fields that Celery checks itself, such as an ``eta``, are left to it. A wrong value of these would raise in the
worker's loop, which would end, or in its pool, in which the request would stay for ever.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any


def _is_seconds(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # A timer that is due at NaN upsets the order of all others.
    return value is None or (is_number and abs(value) < math.inf)


def _are_limits(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_seconds, value))  # noqa: PLR2004 - soft, hard


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


#: Field -> its check, and the words for it in an error; None is allowed for all but the first two.
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "task": (lambda value: isinstance(value, str) and value != "", "a name"),
    "id": (lambda value: isinstance(value, str) and value != "", "a text"),
    "shadow": (lambda value: isinstance(value, str), "a text"),
    # Celery refuses other values that are true, and takes those that are false for instants.
    "eta": (bool, "an instant"),
    "expires": (bool, "an instant"),
    "timelimit": (_are_limits, "two numbers of seconds"),
    "stamped_headers": (_are_names, "a list of names"),
    "stamps": (lambda value: isinstance(value, Mapping), "an object"),
}
_REQUIRED = ("task", "id")


class UnfitMessageError(ValueError):
    """A message can be read, but must not be given to a worker."""


def check_fields(fields: Mapping[str, Any]) -> None:
    """Check the headers of a task's message, or the body of one of protocol 1.

    Raises:
        UnfitMessageError: A field has a value of a wrong type.
    """
    for name, (is_right, wanted) in _CHECKS.items():
        value = fields.get(name)
        if value is None and name not in _REQUIRED:
            continue
        if not is_right(value):
            raise UnfitMessageError(f"the field {name} must be {wanted}, got {value!r:.50}")


def check_body(body: Any) -> None:
    """Check the body of a task's message of protocol 2.

    Raises:
        UnfitMessageError: It is no list of arguments, keyword arguments and embedded tasks.
    """
    try:
        args, kwargs, _ = body
        _, _ = [*args], {**kwargs}
    except (TypeError, ValueError) as exc:
        raise UnfitMessageError(f"the body must be args, kwargs and embedded tasks: {exc}") from exc
