"""What each script calls its figures, made into the names of README.md."""

from collections.abc import Callable
from typing import Any

#: {name: one figure a round}.
Figures = dict[str, list[Any]]

POSTING = {
    "raw round trip": "raw",
    "task.post_in": "post_in",
    "apply_async(countdown)": "apply_async",
}


def posting(figures: dict[str, Any]) -> Figures:
    """Microseconds by the clock become posts a second."""
    return {POSTING.get(name, name): [1e6 / one["wall"] for one in rounds] for name, rounds in figures.items()}


def unchanged(figures: dict[str, Any]) -> Figures:
    """The figures have their names."""
    return figures


#: Of the parts that have other names.
FORMS: dict[str, Callable[[dict[str, Any]], Figures]] = {"posting": posting}
