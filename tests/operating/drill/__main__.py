"""The incident drill: an hour's outage leaves a million overdue tasks; six commands put it right.

usage: python tests/operating/drill [--events 1000000] [--rate 500] [--seconds 30] [--window 120] ...

Hold the backlog, look, cancel one tag's tasks, set a catch-up limit, resume, and replay what is parked. Meanwhile new
work is posted to another queue, and what was booked before comes due. Two real workers run all of it. Prints each
promise, its figure and whether it was kept; status 1 if one was not. docs/how-to/incident-drill.md is about it.
"""

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parents[2])]

from fleet import Fleet  # noqa: E402
from outage import BACKLOG, BOOKED, NEW, TAG, backlog, booked, park, post_all  # noqa: E402
from promises import of_cancel, of_commands, of_forecast, of_hold, of_new_work, of_rate, of_replay, table  # noqa: E402

#: Seconds after the resume before the rate is measured, and until all that was claimed has run.
SETTLES, RUNS_OUT = 2.0, 3.0


def arguments() -> argparse.Namespace:
    """What may be given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="so many are overdue, in three queues")
    parser.add_argument("--tagged", type=int, help="so many of them have the tag; by default 1 in 500")
    parser.add_argument("--parked", type=int, default=300, help="so many are parked")
    parser.add_argument("--rate", type=float, default=500, help="the catch-up limit, a second")
    parser.add_argument("--replay-rate", type=float, default=50, help="so many parked ones are replayed a second")
    parser.add_argument("--new", type=float, default=20, help="so many new tasks are posted a second")
    parser.add_argument("--booked", type=float, default=15, help="so many booked tasks come due a second")
    parser.add_argument("--seconds", type=float, default=30, help="the rate is measured for so long")
    parser.add_argument("--window", type=int, default=120, help="the forecast is for so many seconds; 600: 10 minutes")
    parser.add_argument("--threads", type=int, default=4, help="of each of the two workers")
    parser.add_argument("--go-first", action="store_true", help="on a busy machine, as root: nobody else comes between")
    parser.add_argument("--hold-first", action="store_true", help="hold before the workers start: for few events")
    return parser.parse_args()


@contextmanager
def new_work(fleet: Fleet, rate: float) -> Iterator[list[float]]:
    """Post tasks evenly, due half a second later; yields the instants."""
    posted: list[float] = []
    stop = threading.Event()

    def post() -> None:
        start = time.monotonic()
        while not stop.wait(max(0.0, start + len(posted) / rate - time.monotonic())):
            fleet.module.run.post((), delay=0.5, queue=NEW)
            posted.append(time.time())

    thread = threading.Thread(target=post)
    thread.start()
    try:
        yield posted
    finally:
        stop.set()
        thread.join()


def prepare(fleet: Fleet, given: argparse.Namespace) -> None:
    """Store what the outage left."""
    task = fleet.module.run
    # One message for all: the timer's ids are those of the tasks.
    result = task.post((), delay=3600)
    payload = bytes(result.peek().payload)
    assert result.cancel()
    start = time.monotonic()
    park(fleet.timer, payload, task.name, given.parked)
    post_all(fleet.timer, backlog(payload, task.name, given.events, given.tagged))
    # Some seconds more than are foretold: the commands before that take some.
    seconds = given.window + given.seconds + 60
    post_all(fleet.timer, booked(payload, task.name, seconds, {BOOKED: given.booked * 2 / 3, "mail": given.booked / 3}))
    print(f"{given.events} overdue events are stored, in {time.monotonic() - start:.0f} s", flush=True)


def main() -> int:
    """Make the outage, and put it right."""
    given = arguments()
    given.tagged = given.events // 500 if given.tagged is None else given.tagged
    by = ("minute", given.window // 60) if given.window % 60 == 0 else ("second", given.window)
    with Fleet() as fleet:
        prepare(fleet, given)
        queues = ",".join([*BACKLOG, BOOKED, NEW])
        held = [word for queue in BACKLOG for word in ("-Q", queue)]
        if given.go_first:
            fleet.go_first()
        if given.hold_first:
            hold = fleet.type("hold", *held, "--why", "outage")
        for name in ("one", "two"):
            fleet.start_worker(name, queues, given.threads)
        fleet.wait_for_workers()
        with new_work(fleet, given.new) as posted:
            if not given.hold_first:
                hold = fleet.type("hold", *held, "--why", "outage")
            look = fleet.type("forecast", "--by", by[0], "-n", str(by[1]))
            cancel = fleet.type("cancel", "--tag", TAG, "--yes")
            fleet.type("catch-up", f"{given.rate:g}", "--why", "outage")
            resume = fleet.type("resume", "--all", "--yes")
            replay = fleet.type("replay", "--all", "--yes", "--rate", f"{given.replay_rate:g}")
            measured = resume.ended + SETTLES
            foretold_at = datetime.fromisoformat(look.answer["from"]).timestamp()
            replayed = replay.ended + given.parked / given.replay_rate
            end = max(measured + given.seconds, foretold_at + given.window, replayed)
            time.sleep(max(0.0, end - time.time()))
        time.sleep(RUNS_OUT)
        runs = fleet.runs()
        # New work is posted after the forecast, but for what waited then.
        foretold = sum(sum(counts) for queue, counts in look.answer["queues"].items() if queue != NEW)
        promises = [
            *of_commands(fleet.commands),
            of_hold(runs, hold, resume),
            of_cancel(runs, given.tagged, cancel, cancel.answer["done"]),
            of_rate(runs, given.rate, measured, given.seconds),
            of_new_work(runs, 0.0, len(posted)),
            of_forecast(runs, foretold, foretold_at, given.window),
            of_replay(runs, given.parked, replay.answer["done"]),
        ]
        print(table(promises, fleet.commands))
    return 0 if all(promise.kept for promise in promises) else 1


if __name__ == "__main__":
    sys.exit(main())
