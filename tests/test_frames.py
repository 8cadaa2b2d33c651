"""How many functions of ours stand between a call and redis-py: fewer are easier to follow, and faster."""

import json
from pathlib import Path

import pytest
from rig.frames import stacks_of_sending

from celery_dtimer import get_timer
from celery_dtimer.posting.result import TimerResult

#: Most functions of ours on each way.
POST, CANCEL, FIRE, CONFIRM = 10, 6, 4, 9


@pytest.fixture
def app(make_app, redis_url):
    return make_app(dtimer_url=redis_url)


@pytest.fixture
def add(app):
    @app.task(name="add")
    def add():
        pass

    return add


@pytest.fixture
def app_file():
    return Path(__file__).parent / "worker" / "apps" / "framed.py"


def stacks_of_scripts(act):
    """The functions of ours on the stack where a script is called."""
    stacks = []
    with stacks_of_sending(lambda stack, data: stacks.append(stack) if b"EVALSHA" in data else None):
        act()
    return stacks


def sends(act):
    """What is sent to Redis, and what the call returns."""
    sent = []
    with stacks_of_sending(lambda _, data: sent.append(data)):
        return sent, act()


def test_a_post_passes_few_functions(add):
    add.post_in(60).cancel()
    results = []
    (stack,) = stacks_of_scripts(lambda: results.append(add.post_in(60)))
    results[0].cancel()
    assert len(stack) <= POST, "\n".join(stack)


def test_a_cancel_passes_few_functions(add):
    result = add.post_in(60)
    (stack,) = stacks_of_scripts(result.cancel)
    assert len(stack) <= CANCEL, "\n".join(stack)


def test_a_cancel_by_a_new_result_is_one_round_trip(app, add):
    add.post_in(60).cancel()  # the server knows the scripts from here on
    first, second, third = add.post_in(60), add.post_in(60), add.post_in(60)
    for cancel in (
        first.cancel,
        TimerResult(second.id, app=app).cancel,
        lambda: get_timer(app).cancel(third.id),
    ):
        sent, done = sends(cancel)
        assert done
        assert len(sent) == 1, sent


def test_a_delivery_and_its_confirm_pass_few_functions(worker_app, start_worker, wait_for_records, wait_until_empty):
    start_worker(env={"FRAMED": "1"})
    worker_app.module.note.post_in(0)
    wait_for_records(1)
    wait_until_empty()
    client = worker_app.module.records_client()
    fired, noted, told = (
        [json.loads(row) for row in client.lrange(name, 0, -1)] for name in ("fired", "noted", "told")
    )
    assert len(fired[-1]) <= FIRE, "\n".join(fired[-1])
    assert len(noted[-1]) + len(told[-1]) <= CONFIRM, "\n".join([*noted[-1], "--", *told[-1]])
