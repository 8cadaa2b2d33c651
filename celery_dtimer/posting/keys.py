"""The id of a post that its task's ``key`` makes of the arguments."""

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from string import Formatter
from typing import Any

from celery_dtimer.errors import InvalidEventError, PayloadError
from celery_dtimer.timer.checks import check_id
from celery_dtimer.timer.shown import shown, wrong

#: A format string of the task's arguments, or a function that is called with them.
Key = str | Callable[..., str]


def check_key(key: object) -> None:
    """Raise InvalidEventError if a key can make no id; None makes none."""
    if key is None or callable(key):
        return
    wanted = "a format string of the task's arguments, such as 'reindex:{order_id}', or a function of them"
    if not isinstance(key, str):
        raise wrong("key", wanted, key)
    try:
        fields = [field for _, field, _, _ in Formatter().parse(key) if field is not None]
    except ValueError as exc:
        raise wrong("key", wanted, key, f": {exc}") from exc
    if any(not field or field[0].isdigit() for field in fields):
        raise wrong("key", wanted, key, ": each field needs the name of an argument")


def id_of(task: Any, key: Key, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Return the id that a key makes of the arguments of a call.

    Raises:
        PayloadError: The task does not take these arguments.
        InvalidEventError: The key needs an argument that the task does not have, fails, or makes no id.
    """
    try:
        made: object = _named(task, args, kwargs, key) if isinstance(key, str) else key(*args, **kwargs)
    except InvalidEventError:
        raise
    except Exception as exc:
        # A function's own error, or that of an argument's attribute or format.
        raise _refused(task, f"key failed: {type(exc).__name__}: {exc}", key) from exc
    try:
        return check_id(made)
    except InvalidEventError as exc:
        kind = type(made).__name__
        raise _refused(
            task, f"key must make a string of 1 to 200 bytes of UTF-8, made {shown(made)} ({kind})", made
        ) from exc


def _named(task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], key: str) -> str:
    parameters = signature(task.run)
    try:
        bound = parameters.bind(*args, **kwargs)
    except TypeError as exc:
        raise PayloadError(
            f"the key of task {task.name} needs its arguments: {exc}", argument="args", value=args
        ) from exc
    bound.apply_defaults()
    named = dict(bound.arguments)
    for name, parameter in parameters.parameters.items():
        if parameter.kind is Parameter.VAR_KEYWORD:
            named = {**named[name], **named}
    try:
        return key.format_map(named)
    except KeyError as exc:
        raise _refused(task, f"key {shown(key)} names {exc.args[0]}, and the call has no such argument", key) from exc


def _refused(task: Any, text: str, value: object) -> InvalidEventError:
    return InvalidEventError(f"task {task.name}: its {text}", argument="key", value=value)
