"""The parts of ``make bench``, in their order: their scripts, how those are called, and how long that takes."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One call of a script.

    Attributes:
        script: The file.
        seconds: Seconds that a full run takes on a quiet machine. It may take longer, if those behind it keep theirs.
        full: Its arguments; ``{seconds}`` stands for those that it may take.
        seconds_quick: Seconds of a quick run; 0: it is left out there.
        quick: The arguments of a quick run.
        measures: Whether it keeps figures; else it makes others ready.
    """

    script: str
    seconds: float
    full: str = ""
    seconds_quick: float = 0.0
    quick: str = "--quick"
    measures: bool = True

    def planned(self, *, quick: bool) -> float:
        """Seconds that it takes if nothing disturbs it."""
        return self.seconds_quick if quick else self.seconds


#: Half of what the slots of a worker can do, in tasks of 10 ms a second: two slots, and one of solo.
HALF, HALF_OF_SOLO = 100, 50

PARTS: dict[str, Sequence[Step]] = {
    "posting": [Step("posting.py", 25, "", 8, "--posts 300 --rounds 3")],
    "lateness": [
        Step(
            "lateness.py",
            85,
            "--pools prefork,threads,solo --events 150 --span 3 --rounds 3",
            14,
            "--pools prefork,threads --events 60 --span 1 --rounds 1",
        ),
        Step(
            "lateness.py",
            80,
            f"--pools prefork,threads --events 250 --span 4 --rounds 3 --load {HALF}",
            8,
            f"--pools prefork --events 60 --span 1 --rounds 1 --load {HALF}",
        ),
        # A half of the events meets a busy worker, so that the median is where the curve is flat: it takes many.
        Step("lateness.py", 35, f"--pools solo --events 400 --span 5 --rounds 2 --load {HALF_OF_SOLO}"),
    ],
    "drain": [
        Step(
            "drain.py",
            115,
            "--events 1500 --rounds 3",
            30,
            "--pools prefork,threads --events 600 --rounds 1",
        ),
        Step(
            "drain.py",
            70,
            "--pools prefork --without-plain --workers 1,2 --latencies 0,1,5,20 --events 1500 --rounds 2",
        ),
    ],
    "pending": [Step("pending.py", 80, "--calls 60", 8)],
    "listeners": [Step("listeners.py", 70, "--seconds 3 --idle 3", 14)],
    "memory": [Step("memory.py", 12, "--events 8000", 5, "--events 1500 --posts 100")],
    "beside": [
        Step("beside.py", 50, "--install", measures=False),
        Step("beside.py", 230, "--seconds {seconds}", 45),
    ],
}
