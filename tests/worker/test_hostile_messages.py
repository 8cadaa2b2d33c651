"""Messages with fields of wrong types, the timer's and the broker's: no worker ends, and no neighbour runs twice."""

import sys
import uuid
from collections import Counter
from pathlib import Path

import pytest
from celery.exceptions import InvalidTaskError
from celery.worker import state
from celery.worker.request import Request
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.message import Message as KombuMessage
from rig.outsider import Outsider
from rig.waiting import wait_until

from celery_dtimer import Post
from celery_dtimer.firing.fields import UnfitMessageError, check_body, check_fields
from celery_dtimer.timer.legible import legible

sys.path.append(str(Path(__file__).parents[1] / "attacks"))
from hostile import PAYLOADS, VALUES, messages

#: Fields that a plain worker survives whatever is in them; where it does not, one with the timer can't.
SURVIVED = (
    "shadow",
    "retries",
    "group",
    "root_id",
    "parent_id",
    "argsrepr",
    "origin",
    "lang",
    "ignore_result",
    "dtimer",
)


@pytest.fixture
def worker(start_worker):
    return start_worker(pool="threads", concurrency=4, env={"UNKNOWN_TASK_PATIENCE": "0"})


def test_hostile_messages_of_the_timer_are_parked_or_end_as_natively_and_their_neighbours_run_once(
    proj, timer, timer_url, worker, expected_keys
):
    expected_keys += ["{dt:tasks:0}:parked*", "{dt:tasks:0}:taken"]
    bad = {f"payload {name}": payload for name, payload in PAYLOADS.items()}
    bad |= {message.name: message.payload() for message in messages("proj.shared")}
    with Outsider(timer_url) as outsider:
        outsider.post_many(
            Post(payload, 1, id=str(uuid.uuid5(uuid.NAMESPACE_OID, name)), queue="celery")
            for name, payload in bad.items()
        )
    good = [proj.note.post_in(1, number) for number in range(60)]
    for result in good:
        result.get(timeout=60)

    def settled():
        count = timer.count()
        return not (count.pending or count.leased)

    wait_until(settled, "an end of all", 30)
    assert worker.running
    ran = Counter(row["id"] for row in proj.records())
    assert all(ran[result.id] == 1 for result in good)


def test_hostile_messages_of_the_broker_leave_the_timers_events_alone(proj, worker, broker_place, wait_until_empty):
    import redis

    with redis.Redis.from_url(broker_place.url) as broker:
        for message in messages("proj.shared"):
            if message.name.startswith(tuple(f"header {name} =" for name in SURVIVED)):
                broker.lpush("celery", message.envelope())
    good = [proj.note.post_in(0.5 + number / 50, number) for number in range(60)]
    for result in good:
        result.get(timeout=30)
    wait_until_empty()
    assert worker.running
    ran = Counter(row["id"] for row in proj.records())
    assert all(ran[result.id] == 1 for result in good)


# What is checked, against what Celery does with a request before and after its task runs.

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
hostile = st.sampled_from(list(VALUES.values())) | values
fields = (
    "task",
    "id",
    "shadow",
    "timelimit",
    "stamped_headers",
    "stamps",
    "retries",
    "group",
    "root_id",
    "expires",
    "eta",
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(fields), hostile, max_size=3))
def test_a_request_that_passes_the_check_is_one_that_a_worker_survives(wrong):
    from celery import current_app

    headers = {"task": "celery.backend_cleanup", "id": "x", **wrong}
    try:
        check_fields(headers)
    except UnfitMessageError:
        return
    message = KombuMessage("[[], {}, {}]", content_type="application/json", content_encoding="utf-8", headers=headers)
    headers["task"] = "celery.backend_cleanup"
    try:
        request = Request(message, app=current_app, headers=headers, decoded=True, body=[[], {}, {}])
    except InvalidTaskError:
        return  # Celery's own: it rejects the message
    state.task_reserved(request)
    state.task_accepted(request)
    _hard, _soft = request.time_limits
    assert all(stamp not in state.revoked_stamps for stamp in request.stamped_headers)
    assert isinstance(request.stamps, dict)
    state.task_ready(request)
    assert not state.requests


@pytest.mark.parametrize("body", [None, 5, "abc", {}, [], [[], {}], [[], {}, {}, {}], [[], [], {}], [None, {}, {}]])
def test_a_body_that_is_no_call_is_unfit(body):
    with pytest.raises(UnfitMessageError):
        check_body(body)


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31mred", "\ud800", "\u2028", "\r", "\x00", "\u202e"])
def test_what_is_logged_stays_in_its_line(text):
    shown = legible(text)
    assert shown.isprintable()
    assert shown.encode()
    assert legible("plain ü") == "plain ü"
    assert len(legible(text * 1000)) < 5000
