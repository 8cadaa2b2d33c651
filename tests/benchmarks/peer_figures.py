"""What was measured of a contender of beside.py: kept, and shown in a line."""

import statistics
from dataclasses import dataclass, field
from typing import Any

from harness import percentiles


@dataclass
class Figures:
    """What was measured of a contender; the lists have an entry for each round."""

    note: str
    lateness_ms: list[float] = field(default_factory=list)
    early: int = 0
    never: int = 0
    drain_per_s: list[float] = field(default_factory=list)
    drained: list[int] = field(default_factory=list)
    posts_per_s: list[float] = field(default_factory=list)
    bulk_per_s: list[float] | None = None
    posts_ratio: list[float] = field(default_factory=list)
    bulk_ratio: list[float] | None = None
    bytes_per_job: float | None = None
    bytes_per_job_of_words: float | None = None
    worker_bytes_per_job: float | None = None
    idle_commands_per_s: dict[str, float] = field(default_factory=dict)
    idle_with_scripts_per_s: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def flat(self) -> dict[str, list[Any]]:
        """What there is, by the names that README.md has."""
        one, four = (self.idle_commands_per_s.get(workers) for workers in ("1", "4"))
        flat: dict[str, list[Any]] = {
            "posts": self.posts_per_s,
            "posts ratio": self.posts_ratio,
            "bulk": self.bulk_per_s or [],
            "bulk ratio": self.bulk_ratio or [],
            "bytes": _there(self.bytes_per_job),
            "bytes of words": _there(self.bytes_per_job_of_words),
            "worker": _there(self.worker_bytes_per_job),
            "lateness": [[late / 1000 for late in self.lateness_ms]] if self.lateness_ms else [],
            "early": [self.early] if self.lateness_ms else [],
            "drain": self.drain_per_s,
            "idle": _there(one),
            "idle of four": _there(four),
        }
        return {name: values for name, values in flat.items() if values}

    def shown(self, name: str) -> str:
        """Return it in a line."""

        def median(values: list[float] | None, form: str) -> str:
            return format(statistics.median(values), form) if values else "-".rjust(len(format(0.0, form)))

        late = percentiles([value / 1000 for value in self.lateness_ms]) if self.lateness_ms else "-"
        idle = " ".join(f"{value:.1f}" for value in self.idle_commands_per_s.values()) or "-"
        memory = (self.bytes_per_job, self.bytes_per_job_of_words, self.worker_bytes_per_job)
        size, words, held = map(_there, memory)
        return (
            f"{name:22} late {late} early {self.early} never {self.never}  drain {median(self.drain_per_s, '6.0f')}/s"
            f"  posts {median(self.posts_per_s, '5.0f')}/s ({median(self.posts_ratio, '.2f')})"
            f"  bulk {median(self.bulk_per_s, '6.0f')}/s ({median(self.bulk_ratio, '.2f')})"
            f"  {median(size, '5.0f')} bytes (words {median(words, '4.0f')}), worker {median(held, '5.0f')}"
            f"  idle {idle}/s" + "".join(f"\n  failed: {one}" for one in self.failures)
        )


def _there(figure: float | None) -> list[float]:
    return [] if figure is None else [figure]
