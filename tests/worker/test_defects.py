"""A defect of ours, where a worker calls us: it is told once, and neither the worker ends nor the firing."""

import json

import pytest
from rig.waiting import wait_until

#: What a worker calls of ours, in its event loop or in a callback of its pool.
CALLED = (
    "dispatcher.Dispatcher._fire_next",
    "dispatcher.Dispatcher._on_free",
    "capacity.Capacity.ran",
    "capacity.Capacity.can_start",
    "requests.Requests.started",
)

BREAK = """
from functools import wraps
from proj import app
from celery_dtimer.firing import capacity, dispatcher, requests

def break_it(cls, method):
    real, calls = getattr(cls, method), []

    @wraps(real)
    def broken(self, *args):
        calls.append(args)
        if 5 < len(calls) < 15:
            raise RuntimeError(f"a defect of {method}")
        return real(self, *args)

    setattr(cls, method, broken)

"""


@pytest.mark.parametrize("pool", [pytest.param("prefork", marks=pytest.mark.slow), "gevent"])
def test_a_defect_of_ours_ends_no_worker_and_is_told_once(
    proj, worker_app, start_worker, wait_for_records, wait_until_empty, pool
):
    calls = [called.rpartition(".") for called in CALLED]
    broken = BREAK + "\n".join(f"break_it({cls}, {method!r})" for cls, _, method in calls)
    (worker_app.folder / "broken.py").write_text(broken)
    worker = start_worker(pool=pool, app_module="broken")
    posted = {proj.note.post_in(0, number).id for number in range(30)}
    rows = wait_for_records(30, timeout=30)
    assert {row["id"] for row in rows} == posted
    wait_until_empty()
    assert worker.running
    told = worker.logs().count("which is a defect; firing goes on")
    assert worker.logs().count("RuntimeError: a defect") == told
    # Some 45 times something failed, in what is called from these and two more places.
    assert 1 <= told <= len(CALLED) + 2


def test_what_was_given_back_is_not_claimed_again_while_nothing_has_changed(
    proj, start_worker, wait_for_records, wait_until_empty, timer, redis_client
):
    """Its task usually takes a millisecond, and takes long now: what that says of the pool is wrong."""
    unlimited = {"BROKER_SETTINGS": json.dumps({"worker_prefetch_multiplier": 0})}
    start_worker(pool="threads", concurrency=1, env=unlimited)
    for number in range(4):
        proj.early_nap.post_in(0, 0.001)
        wait_for_records(number + 1, "end")
    proj.early_nap.post_in(0, 3.0)
    wait_for_records(5)
    for _ in range(100):
        proj.early_nap.post_in(0, 0)

    def scripts():
        return sum(
            numbers["calls"]
            for name, numbers in redis_client.info("commandstats").items()
            if name in ("cmdstat_evalsha", "cmdstat_eval")
        )

    wait_until(lambda: timer.count().pending > 80, "most of them to be given back")
    samples = [scripts()]

    def ended():
        if sum(row["event"] == "end" for row in proj.records()) >= 5:
            return True
        samples.append(scripts())  # no later than the long task's end: what comes then are the others' confirms
        return False

    wait_until(ended, "the end of the long task")
    # It looks after its queue once a second, and after what nobody took every 0.2 s: a claim and a release again and
    # again would be some ten times that.
    spent = samples[-1] - samples[0]
    assert spent < 25, samples
    wait_for_records(105, "end")
    wait_until_empty()
