"""The caller's functions that a listener calls: refused where they are set, if they can't do their work."""

import inspect
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from celery_dtimer.errors import HandlerError
from celery_dtimer.timer.shown import shown

#: Return values of functions that have not run yet.
NOT_RUN = (CoroutineType, GeneratorType, AsyncGeneratorType)


def check_handler(handler: object, setter: str, argument: str, *, awaited: bool = False) -> None:
    """Refuse a handler that can't work.

    Args:
        handler: The caller's.
        setter: Where, for the error.
        argument: Its argument, for the error.
        awaited: Whether it has to be async, for an AsyncDTimer.

    Raises:
        HandlerError: It can't be called, not with one argument, or would not run when it is called.
    """
    if not callable(handler):
        raise HandlerError(
            f"{setter} takes a function of one argument, {argument}, not {shown(handler)}", handler=handler
        )
    functions = (handler, type(handler).__call__)  # an object's own may be async
    if awaited and not any(map(inspect.iscoroutinefunction, functions)):
        raise HandlerError(
            f"{setter} of an AsyncDTimer takes an async function, and {named(handler)} is none: it would hold up the "
            "event loop. Give an async one, which may hand the work to a thread with asyncio.to_thread()",
            handler=handler,
        )
    for function in functions:
        if not awaited and (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
            raise HandlerError(
                f"{setter} takes a plain function, and {named(handler)} is async: nothing would await it. Make an "
                "AsyncDTimer, whose handlers are async",
                handler=handler,
            )
        if inspect.isgeneratorfunction(function):
            raise HandlerError(
                f"{setter} takes a plain function, and {named(handler)} is a generator: nothing would iterate over it",
                handler=handler,
            )
    try:
        parameters = inspect.signature(handler)
    except (TypeError, ValueError):
        return  # some that are written in C do not tell
    try:
        parameters.bind(None)
    except TypeError as exc:
        raise HandlerError(
            f"{setter} takes a function of one argument, {argument}, and {named(handler)} can't be called so: {exc}",
            handler=handler,
        ) from exc


def call(handler: Callable[[Any], object], argument: object) -> None:
    """Call a handler.

    Raises:
        HandlerError: It returned what should have been awaited, or iterated over.
        BaseException: Its own error.
    """
    returned = handler(argument)
    if isinstance(returned, NOT_RUN):
        if isinstance(returned, CoroutineType | GeneratorType):
            returned.close()
        raise HandlerError(
            f"the handler {named(handler)} returned a {type(returned).__name__}, which nothing runs: it has to do its "
            "work, or hand it on, before it returns",
            handler=handler,
        )


def named(handler: object) -> str:
    """A handler's name, for people."""
    return str(getattr(handler, "__qualname__", None) or shown(handler))
