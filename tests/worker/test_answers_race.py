"""Cancels and moves race with two workers that fire; every answer agrees with what then happened."""

import random
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from rig.waiting import wait_until

from celery_dtimer import State

THREADS = 3

#: Seconds ahead of an event's time in which it is cancelled or moved: workers claim it in the last 10 ms.
AHEAD = 0.03

#: Part of the events of which a racer waits until they are due: by then, most of them have ended.
LATE = 0.05

#: Seconds until the first event is due, for each post: these take a millisecond or two.
SOON = 0.0025


class Racer(threading.Thread):
    """Cancels and moves its share of the events shortly before they are due, up to three times each.

    Attributes:
        answers: (kind, Answer) in order, by id.
    """

    def __init__(self, timer, number, end):
        super().__init__(name=f"racer-{number}", daemon=True)
        self.timer, self.number, self.end = timer, number, end
        self.chance = random.Random(number)
        self.answers = defaultdict(list)
        self.left = {}
        self.failure = None

    def run(self):
        try:
            while not self.end.is_set():
                for event in self.timer.upcoming(duration=AHEAD, limit=100):
                    if int(event.id.rpartition("-")[2]) % THREADS == self.number:
                        self.act(event)
        except BaseException as exc:
            self.failure = exc
            raise

    def act(self, event):
        left = self.left.setdefault(event.id, self.chance.choice([1, 1, 2, 3]))
        if not left:
            return
        self.left[event.id] = left - 1
        kind = self.chance.choice(["cancel", "move", "run_now", "cancel as seen"])
        if self.chance.random() < LATE:
            time.sleep(max(0.0, event.due_at.timestamp() - time.time()) + self.chance.uniform(0, 0.01))
        if kind == "move":
            answer = self.timer.change_delay(event.id, self.chance.uniform(0, 0.5))
        elif kind == "run_now":
            answer = self.timer.run_now(event.id)
        else:
            answer = self.timer.cancel(event.id, if_due_at=event.due_at if kind == "cancel as seen" else None)
        self.answers[event.id].append((kind, answer))


@pytest.mark.slow
@pytest.mark.parametrize(("count", "seconds"), [(5000, 15.0)])
def test_every_answer_agrees_with_what_then_happened(
    proj, start_worker, timer, wait_for_records, wait_until_empty, count, seconds
):
    names = {start_worker(pool=pool, concurrency=8).hostname() for pool in ("threads", "prefork")}
    start, chance = datetime.now(UTC) + timedelta(seconds=SOON * count), random.Random(0)
    due = {f"race-{number}": start + timedelta(seconds=chance.uniform(0, seconds)) for number in range(count)}
    for task_id, instant in due.items():
        proj.note.post(eta=instant, task_id=task_id)
    end = threading.Event()
    racers = [Racer(timer, number, end) for number in range(THREADS)]
    for racer in racers:
        racer.start()
    wait_until(lambda: not timer.count().pending, "all events to be fired or cancelled", 90)
    end.set()
    for racer in racers:
        racer.join(30)
        assert racer.failure is None
    wait_until_empty()

    answers = {task_id: told for racer in racers for task_id, told in racer.answers.items()}
    cancelled = {task_id for task_id, told in answers.items() if any(a and "cancel" in kind for kind, a in told)}
    rows = wait_for_records(count - len(cancelled), timeout=30)
    runs = defaultdict(list)
    for row in rows:
        runs[row["id"]].append(row)

    wrong = {
        task_id: list(contradictions(answers.get(task_id, ()), runs[task_id], due[task_id], names)) for task_id in due
    }
    wrong = {task_id: found for task_id, found in wrong.items() if found}
    assert wrong == {}
    told = [(kind.partition(" ")[0], bool(a), a.state) for each in answers.values() for kind, a in each]
    print(f"{len(told)} answers about {len(answers)} events, {len(cancelled)} cancelled")
    # Each of them was met, or this was no race.
    assert {
        *(("cancel", True, State.PENDING), ("cancel", False, State.LEASED), ("cancel", False, None)),
        *(("move", True, State.PENDING), ("move", False, State.LEASED), ("move", False, None)),
    } <= set(told)


def contradictions(told, runs, due_at, names):
    """What the answers about an event have against what happened."""
    cancels = [number for number, (kind, answer) in enumerate(told) if answer and "cancel" in kind]
    is_cancelled = bool(cancels)
    if is_cancelled and any(answer.state for _, answer in told[cancels[0] + 1 :]):
        yield "it was found after its cancel"
    for kind, answer in told:
        if answer and answer.due_at:
            due_at = answer.due_at
        elif answer.state is State.PENDING and kind != "cancel as seen":
            yield f"{kind} was not done, though it waited"
        elif answer.state is State.LEASED and answer.holder not in names:
            yield f"it is held by {answer.holder}"
    if len(runs) != (0 if is_cancelled else 1):
        yield f"it ran {len(runs)} times"
    if runs and abs(runs[0]["due"] - due_at.timestamp()) > 0.001:
        yield f"it was due at {runs[0]['due']}, and not at {due_at.timestamp()}"
    if runs and runs[0]["at"] < due_at.timestamp() - 0.001:
        yield "it ran early"
    if runs and any(runs[0]["at"] < answer.since.timestamp() for _, answer in told if answer.since):
        yield "it ran before it was claimed"
