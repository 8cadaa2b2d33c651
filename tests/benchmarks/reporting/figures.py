"""What a run of the bench kept, by part and name, with medians and ratios that are None where something is missing.

A list of many (latenesses, instants of runs) is kept as its 101 quantiles, 0 to 100 %.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: A figure of one round: a number, or the quantiles of many.
Figure = float | list[float]


def quantiles(values: Sequence[float]) -> list[float]:
    """Return the 101 quantiles of some values, to 10 microseconds if they are seconds."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return [round(ordered[min(last, len(ordered) * percent // 100)], 5) for percent in range(101)]


def reduced(figures: dict[str, list[Any]]) -> dict[str, list[Figure]]:
    """Return the figures of a part with the quantiles in place of long lists, and numbers of six digits."""

    def one(figure: Any) -> Figure:
        return quantiles(figure) if isinstance(figure, list) else float(f"{figure:.6g}")

    return {name: [one(figure) for figure in rounds if figure not in (None, [])] for name, rounds in figures.items()}


@dataclass(frozen=True)
class Part:
    """What one script measured.

    Attributes:
        status: ``ok``, or what went wrong, in a few words.
        seconds: Seconds that it took.
        versions: Versions of what it measured.
        figures: Its figures by name, one a round.
        notes: What readers should know of a contender, by its name.
    """

    status: str
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    figures: dict[str, list[Figure]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run of the bench: when and where, and its parts."""

    date: str
    machine: dict[str, str]
    parts: dict[str, Part]

    @classmethod
    def read(cls, kept: dict[str, Any]) -> "Run":
        """Return the run that a JSON file has."""
        parts = {name: Part(**part) for name, part in kept["parts"].items()}
        return cls(kept["date"], kept["machine"], parts)

    def rounds(self, part: str, name: str) -> list[Figure]:
        """The figures of all rounds; empty if there are none."""
        return self.parts[part].figures.get(name, []) if part in self.parts else []

    def names(self, part: str) -> list[str]:
        """The names of a part's figures."""
        return [name for name, rounds in self.parts[part].figures.items() if rounds] if part in self.parts else []

    def median(self, part: str, name: str) -> float | None:
        """The median of the rounds' numbers."""
        numbers = [figure for figure in self.rounds(part, name) if not isinstance(figure, list)]
        return statistics.median(numbers) if numbers else None

    def quantile(self, part: str, name: str, percent: int) -> float | None:
        """The median of the rounds' quantiles: one bad round does not make a bad figure."""
        found = [figure[percent] for figure in self.rounds(part, name) if isinstance(figure, list)]
        return statistics.median(found) if found else None

    def curve(self, part: str, name: str) -> list[float]:
        """All 101 quantiles, each the median of the rounds'; empty if there are none."""
        found = [self.quantile(part, name, percent) for percent in range(101)]
        return [each for each in found if each is not None]

    def failed(self, part: str) -> str:
        """What went wrong with a part, or nothing."""
        if part not in self.parts:
            return "not run"
        status = self.parts[part].status
        return "" if status == "ok" else status


def shown(name: str) -> str:
    """Return a contender's name for people: two are called dtimer."""
    return f"npm {name}" if name.split(maxsplit=1)[0] == "dtimer" else name


def ratio(over: float | None, under: float | None) -> float | None:
    """Return the ratio of two figures, None if one of them is missing or 0."""
    return over / under if over is not None and under else None
