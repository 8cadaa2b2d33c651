"""The parts of ``make bench``, in their order: their scripts, how those are called, and how long they may take."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One call of a script.

    Attributes:
        script: The file.
        full: Its arguments; ``{seconds}`` stands for those that it may take.
        quick: Those of a quick run; None: it is left out there.
        measures: Whether it keeps figures; else it makes others ready.
    """

    script: str
    full: Sequence[str] = ()
    quick: Sequence[str] | None = ("--quick",)
    measures: bool = True


@dataclass(frozen=True)
class Planned:
    """One part: its calls, and the seconds that they take together on a quiet machine, in a full and in a quick run.

    A part may take longer, as long as those behind it keep theirs.
    """

    steps: Sequence[Step]
    seconds: float
    seconds_quick: float


def _lateness(pools: str, per_second: int, quick_pools: str | None) -> Step:
    options = ("--load", str(per_second))
    full = ("--pools", pools, "--events", "150", "--span", "3", "--rounds", "2" if per_second else "3", *options)
    few = ("--events", "60", "--span", "1", "--rounds", "1", *options)
    return Step("lateness.py", full, quick_pools and ("--pools", quick_pools, *few))  # type: ignore[arg-type]


PARTS: dict[str, Planned] = {
    "posting": Planned([Step("posting.py", (), ("--posts", "300", "--rounds", "3"))], 25, 6),
    "lateness": Planned(
        [
            _lateness("prefork,threads,solo", 0, "prefork,threads"),
            # Half of what the slots of each can do, in tasks of 10 ms: two slots, and one.
            _lateness("prefork,threads", 100, "prefork"),
            _lateness("solo", 50, None),
        ],
        140,
        22,
    ),
    "drain": Planned(
        [
            Step(
                "drain.py",
                ("--events", "1500", "--rounds", "3"),
                ("--pools", "prefork,threads", "--events", "600", "--rounds", "1"),
            ),
            Step(
                "drain.py",
                (
                    "--pools",
                    "prefork",
                    "--without-plain",
                    "--workers",
                    "1,2",
                    "--latencies",
                    "0,1,5,20",
                    "--events",
                    "1500",
                    "--rounds",
                    "2",
                ),
                None,
            ),
        ],
        180,
        30,
    ),
    "pending": Planned([Step("pending.py", ("--calls", "60"))], 70, 8),
    "listeners": Planned([Step("listeners.py", ("--seconds", "3", "--idle", "3"))], 50, 14),
    "memory": Planned([Step("memory.py", ("--events", "20000"), ("--events", "1500"))], 8, 5),
    "beside": Planned(
        [Step("beside.py", ("--install",), None, measures=False), Step("beside.py", ("--seconds", "{seconds}"))],
        280,
        45,
    ),
}
