"""The Python reference: directives for Sphinx's autodoc, which reads the docstrings."""

import enum
import importlib
import inspect
from dataclasses import is_dataclass


def documented(*names: str) -> str:
    """Return the directives for public names of ``celery_dtimer``, or of a module in it."""
    lines = ["```{eval-rst}"]
    for name in names:
        module, _, last = f"celery_dtimer.{name}".rpartition(".")
        value = getattr(importlib.import_module(module), last)
        lines += [f".. {_directive(value)}:: {module}.{last}", *_options(value), ""]
    return "\n".join([*lines, "```"])


def _directive(value: object) -> str:
    """Return the name of the directive for a value."""
    if isinstance(value, type):
        return "autoexception" if issubclass(value, BaseException) else "autoclass"
    return "autofunction" if inspect.isroutine(value) else "autodata"


def _options(value: object) -> list[str]:
    """Return the options of its directive: a class shows what it defines itself, and nothing of Celery's."""
    if not isinstance(value, type):
        return [] if inspect.isroutine(value) else ["   :no-value:"]
    fields = set(getattr(value, "__dataclass_fields__", ())) if is_dataclass(value) else set()
    own = [name for base in reversed(_ours(value)) for name in vars(base) if not name.startswith("_")]
    members = [name for name in dict.fromkeys(own) if name not in fields]
    options = [f"   :members: {', '.join(members)}"] if members else []
    return [*options, "   :undoc-members:"] if issubclass(value, enum.Enum) else options


def _ours(value: type) -> list[type]:
    """Return a class and those of its bases that have no page of their own: the private ones of the package."""
    public = importlib.import_module("celery_dtimer").__all__
    return [
        base
        for base in value.__mro__
        if base is value or (base.__module__.startswith("celery_dtimer.") and base.__name__ not in public)
    ]
