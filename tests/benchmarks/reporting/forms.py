"""What each script calls its figures, made into the names of README.md."""

import re
from collections.abc import Callable
from typing import Any

#: Characters of an error that are told.
SHORT = 160

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


def notes(kept: dict[str, Any]) -> dict[str, str]:
    """What a file says about contenders: settings, jobs that were early or never ran, what failed, what is missing."""
    found = {}
    for name, peer in kept.get("peers", {}).items():
        told = [peer["note"]]
        for what, words in (("early", "were early"), ("never", "had not run after 4 s")):
            if peer[what]:
                told.append(f"{peer[what]} jobs {words}")
        told += [f"failed: {in_short(failure)}" for failure in peer["failures"]]
        found[name] = "; ".join(told)
    for name, why in kept.get("not_installed", {}).items():
        found[name] = f"not installed: {in_short(why)}"
    return found


def in_short(why: str) -> str:
    """Return the beginning of an error, without places on this machine or in its network."""
    text = re.sub(r"\w+://\S+|(?<!\w)/[\w.-]+/\S+", "...", " ".join(why.split()))
    return text if len(text) <= SHORT else text[:SHORT] + " ..."
