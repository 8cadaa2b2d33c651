"""The targets: what each compares, and whether a run of the bench met it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reporting.figures import Run, ratio

#: Pools in which workers are measured, and how much faster than plain tasks each has to drain.
POOLS = {"prefork": 2.0, "threads": 4.0, "solo": 3.0}

#: The timer without Celery, as beside.py calls it.
ALONE = "celery-dtimer alone"

#: What stores the very message that Celery makes; other queues store one of their own, of the same text.
CELERY_MESSAGES = ("celery", "celery-redis-plus")


@dataclass(frozen=True)
class Target:
    """A ratio (or a difference, or a number) with a bound.

    Attributes:
        what: What is compared, for people.
        part: The script that measures it.
        heading: Where docs/project/speed.md has the profile if it is not met: the anchor of a heading.
        bound: The bound itself.
        at_least: Whether the bound is the least; else it is the most.
        measured: From a run to the figure; None where something is missing.
        unit: Behind the figure and the bound.
    """

    what: str
    part: str
    heading: str
    bound: float
    at_least: bool
    measured: Callable[[Run], float | None]
    unit: str = ""


@dataclass(frozen=True)
class Row:
    """One target, held against a run. ``met`` is None if it could not be told; ``why`` says then why."""

    target: Target
    figure: float | None
    met: bool | None
    why: str = ""


def _median(part: str, over: str, under: str) -> Callable[[Run], float | None]:
    return lambda run: ratio(run.median(part, over), run.median(part, under))


def _quantile(load: str, pool: str, percent: int) -> Callable[[Run], tuple[float | None, float | None]]:
    def both(run: Run) -> tuple[float | None, float | None]:
        ours, native = (run.quantile("lateness", f"{load} {pool} {way}", percent) for way in ("ours", "native"))
        return ours, native

    return both


def _p50(load: str, pool: str) -> Callable[[Run], float | None]:
    def later_ms(run: Run) -> float | None:
        ours, native = _quantile(load, pool, 50)(run)
        return None if ours is None or native is None else (ours - native) * 1000

    return later_ms


def _p99(load: str, pool: str) -> Callable[[Run], float | None]:
    return lambda run: ratio(*_quantile(load, pool, 99)(run))


def _most(part: str, *names: str) -> Callable[[Run], float | None]:
    """The largest of some medians, if all are there."""

    def largest(run: Run) -> float | None:
        found = [run.median(part, name) for name in names]
        return max(each for each in found if each is not None) if None not in found and found else None

    return largest


def _beside_bullmq(run: Run) -> float | None:
    names = [name for name in run.names("beside") if name.startswith("bullmq") and name.endswith(" drain")]
    best = max((each for each in (run.median("beside", name) for name in names) if each is not None), default=None)
    return ratio(run.median("beside", f"{ALONE} drain"), best)


def _bytes(kept: str, *, of_celery: bool) -> Callable[[Run], float | None]:
    """Ours to the smallest of the peers with Celery's message, or of the others."""

    def compared(run: Run) -> float | None:
        peers = [name.removesuffix(f" {kept}") for name in run.names("beside") if name.endswith(f" {kept}")]
        others = [peer for peer in peers if not peer.startswith("celery-dtimer")]
        chosen = [peer for peer in others if (peer.split()[0] in CELERY_MESSAGES) == of_celery]
        found = [run.median("beside", f"{peer} {kept}") for peer in chosen]
        return ratio(run.median("beside", f"celery-dtimer {kept}"), min((each for each in found if each), default=None))

    return compared


def _targets() -> Iterator[Target]:
    posting, event, late = "posting-a-task", "posting-an-event", "lateness"
    drain, alone = "a-worker-that-drains", "the-timer-alone"
    yield Target(
        "`post_in` to `apply_async(countdown)`",
        "posting",
        posting,
        2,
        True,
        _median("posting", "post_in", "apply_async"),
    )
    yield Target(
        "`task.post_many` to `apply_async(countdown)`",
        "posting",
        posting,
        8,
        True,
        _median("posting", "task.post_many", "apply_async"),
    )
    yield Target(
        "`DTimer.post` to the raw round trip", "posting", event, 0.85, True, _median("posting", "DTimer.post", "raw")
    )
    yield Target(
        "`DTimer.post_many` to the raw pipeline",
        "posting",
        event,
        0.6,
        True,
        _median("posting", "DTimer.post_many", "raw pipeline"),
    )
    for load, words in (("idle", "idle"), ("load", "under plain load")):
        for pool in POOLS:
            yield Target(
                f"lateness {words}, {pool}: p50 after native's", "lateness", late, 0.5, False, _p50(load, pool), " ms"
            )
            yield Target(f"lateness {words}, {pool}: p99 to native's", "lateness", late, 1, False, _p99(load, pool))
    for pool, bound in POOLS.items():
        yield Target(
            f"drain, {pool}: to plain tasks",
            "drain",
            drain,
            bound,
            True,
            _median("drain", f"{pool} posted", f"{pool} plain"),
        )
    yield Target(
        "drain, prefork: to countdowns in memory",
        "drain",
        drain,
        1,
        True,
        _median("drain", "prefork posted", "prefork native"),
    )
    yield Target("two workers to one", "drain", drain, 1.8, True, _median("drain", "two posted", "one posted"))
    yield Target(
        "the same, with tasks that wait", "drain", drain, 1.8, True, _median("drain", "two waiting", "one waiting")
    )
    for pool in POOLS:
        yield Target(
            f"CPU of the worker, {pool}: to plain tasks",
            "drain",
            drain,
            1,
            False,
            _median("drain", f"{pool} posted cpu", f"{pool} plain cpu"),
        )
    yield Target(
        "drain at 20 ms of Redis latency to 0 ms",
        "drain",
        drain,
        0.5,
        True,
        _median("drain", "latency 20", "latency 0"),
    )
    yield Target(
        "the timer alone to npm dtimer, confirmed",
        "beside",
        alone,
        2,
        True,
        _median("beside", f"{ALONE} drain", "dtimer drain"),
    )
    yield Target("the timer alone to BullMQ at its best", "beside", alone, 1, True, _beside_bullmq)
    yield Target(
        "calls an event, one listener, paced",
        "listeners",
        alone,
        2.1,
        False,
        _most("listeners", "1 ahead calls", "1 now calls"),
    )
    yield Target(
        "the same with 256 listeners",
        "listeners",
        alone,
        2.8,  # as before this work, measured in the same way
        False,
        _most("listeners", "256 ahead calls", "256 now calls"),
    )
    for pool in ("prefork", "threads"):
        what = f"calls an event in a drain, {pool}"
        yield Target(what, "drain", drain, 0.5, False, _most("drain", f"{pool} posted calls"))
    yield Target("idle commands a second, one listener", "listeners", alone, 1, False, _most("listeners", "1 idle"))
    yield Target("the same of each of 256", "listeners", alone, 1, False, _most("listeners", "256 idle"))
    yield Target(
        "bytes of a pending task to those of the same Celery message elsewhere",
        "beside",
        "memory",
        1,
        False,
        _bytes("bytes", of_celery=True),
    )
    yield Target(
        "the same to the smallest of other queues, a random text in each",
        "beside",
        "memory",
        1,
        False,
        _bytes("bytes", of_celery=False),
    )
    yield Target(
        "the same with a text of English words",
        "beside",
        "memory",
        1,
        False,
        _bytes("bytes of words", of_celery=False),
    )


TARGETS = tuple(_targets())


def rows(run: Run) -> list[Row]:
    """Hold all targets against a run."""
    return [_row(target, run) for target in TARGETS]


def _row(target: Target, run: Run) -> Row:
    figure = target.measured(run)
    if figure is None:
        return Row(target, None, None, run.failed(target.part) or "not measured")
    return Row(target, figure, figure >= target.bound if target.at_least else figure <= target.bound)
