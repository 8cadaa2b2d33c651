"""What the drill promises, and whether it was kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from fleet import Command, Run
from outage import BACKLOG, BOOKED_ID, LATE, NEW, PARKED, TAGGED

#: Most commands, the seconds of each, and the seconds until workers obey.
COMMANDS, SECONDS, OBEYED = 6, 1.0, 1.0

#: Shares by which a rate, and a forecast, may be off.
RATE, FORECAST = 0.05, 0.02

#: Milliseconds of lateness of new work, of 99 in 100.
LATENESS = 100.0


@dataclass(frozen=True)
class Promise:
    """A promise, its figure, and whether it was kept."""

    text: str
    figure: str
    kept: bool


def of_commands(commands: Sequence[Command]) -> list[Promise]:
    """They are few, and quick."""
    slowest = max(commands, key=lambda command: command.own)
    failed = [command.words[0] for command in commands if command.status]
    return [
        Promise(f"at most {COMMANDS} commands", f"{len(commands)}", len(commands) <= COMMANDS),
        Promise("each succeeds", f"failed: {', '.join(failed)}" if failed else "all did", not failed),
        Promise(
            f"each answers in under {SECONDS:g} s", f"{slowest.words[0]} {slowest.own:.2f} s", slowest.own < SECONDS
        ),
    ]


def of_hold(runs: Sequence[Run], hold: Command, resume: Command) -> Promise:
    """What is held does not run."""
    ran = [run for run in runs if run.queue in BACKLOG and hold.ended + OBEYED < run.at < resume.begun]
    return Promise(f"what is held does not run, {OBEYED:g} s later", f"{len(ran)} ran", not ran)


def of_cancel(runs: Sequence[Run], tagged: int, cancel: Command, cancelled: int) -> Promise:
    """What was cancelled never runs, and all that did not run was cancelled."""
    before = [run for run in runs if run.id.startswith(TAGGED) and run.at <= cancel.ended]
    after = [run for run in runs if run.id.startswith(TAGGED) and run.at > cancel.ended]
    return Promise(
        "what is cancelled by its tag never runs",
        f"{cancelled} cancelled, {len(before)} ran before, {len(after)} after",
        not after and cancelled + len(before) == tagged,
    )


def of_rate(runs: Sequence[Run], wanted: float, start: float, seconds: float) -> Promise:
    """The backlog runs at the rate that was set."""
    ran = sum(run.id.startswith(LATE) and start <= run.at < start + seconds for run in runs)
    off = ran / seconds / wanted - 1
    return Promise(
        f"{wanted:g} a second of the backlog run, within {RATE:.0%}",
        f"{ran / seconds:.1f} a second for {seconds:g} s ({off:+.1%})",
        abs(off) <= RATE,
    )


def of_new_work(runs: Sequence[Run], start: float, posted: int) -> Promise:
    """What other queues are posted meanwhile runs in time."""
    late = sorted((run.at - run.due) * 1000 for run in runs if run.queue == NEW and run.at >= start)
    text = f"new work of other queues: 99 % less than {LATENESS:g} ms late"
    if not late:
        return Promise(text, "nothing ran", kept=False)
    p50, p99 = late[len(late) // 2], late[min(len(late) - 1, int(len(late) * 0.99))]
    all_ran = len(late) == posted
    figure = f"p50 {p50:.1f}, p99 {p99:.1f}, max {late[-1]:.1f} ms of {len(late)}"
    return Promise(text, figure if all_ran else f"{figure}; {posted} were posted", p99 < LATENESS and all_ran)


def of_forecast(runs: Sequence[Run], foretold: int, start: float, seconds: float) -> Promise:
    """What was foretold for the next minutes runs then."""
    end = start + seconds
    ran = sum(run.id.startswith(BOOKED_ID) and start <= run.due < end and run.at < end + OBEYED for run in runs)
    off = ran / foretold - 1 if foretold else 1.0
    return Promise(
        f"the forecast of {seconds:g} s, within {FORECAST:.0%}",
        f"{foretold} foretold, {ran} ran ({off:+.1%})",
        abs(off) <= FORECAST,
    )


def of_replay(runs: Sequence[Run], parked: int, replayed: int) -> Promise:
    """What was parked runs."""
    ran = {run.id for run in runs if run.id.startswith(PARKED)}
    return Promise("what was parked runs", f"{replayed} replayed, {len(ran)} ran", len(ran) == replayed == parked)


def table(promises: Sequence[Promise], commands: Sequence[Command]) -> str:
    """All that is to be read, in lines."""
    lines = [f"{'command':<60}  {'own':>6}  {'process':>7}"]
    lines += [f"{'celery dtimer ' + ' '.join(c.words):<60.60}  {c.own:>4.2f} s  {c.whole:>5.2f} s" for c in commands]
    wide = max(len(promise.text) for promise in promises)
    lines += ["", f"{'promise':<{wide}}  {'kept':<4}  figure"]
    lines += [f"{p.text:<{wide}}  {'yes' if p.kept else 'NO':<4}  {p.figure}" for p in promises]
    return "\n".join(lines)
