"""Payloads are opaque bytes to Redis: what was posted is what is delivered."""

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig.waiting import wait_until
from seeds import PAST_MS, at, event, seed

PAYLOADS = {
    "empty": b"",
    "a JSON array that cjson would turn into an object": b"[]",
    "nested empty arrays": json.dumps([[], {}, {"callbacks": []}]).encode(),
    "integers that a double cannot hold": b'{"id": 12345678901234567890, "n": 9007199254740993}',
    "only NULs": b"\x00" * 3,
    "NULs within": b"a\x00b\x00",
    "newlines": b"\n\r\n",
    "looks like a pointer to a lease": b"@nonce0:0",
    "looks like a record": b"\x93\x14\xa7default\xa7payload",
    "looks like an error reply": b"-ERR no\r\n",
    "no UTF-8": b"\xff\xfe\xc0",
    "every byte": bytes(range(256)),
    "31 bytes": b"x" * 31,
    "32 bytes": b"x" * 32,
    "255 bytes": b"x" * 255,
    "256 bytes": b"x" * 256,
    "65535 bytes": b"x" * 65_535,
    "65536 bytes": b"x" * 65_536,
    "512 KiB": random.Random(1).randbytes(512 * 1024),
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_payload_is_the_same_at_every_station(timer, store, claim, payload):
    timer.post(payload, eta=at(PAST_MS), id="x")
    assert timer.peek("x").payload == payload
    assert timer.upcoming(payloads=True)[0].payload == payload
    (delivery,) = claim(lease_ms=-1000)
    assert delivery.payload == payload
    (delivery,) = claim()
    assert delivery.payload == payload
    assert timer.peek("x").payload == payload
    store.ask(store.park("default", [delivery], "why"))
    assert timer.peek("x").payload == payload
    assert timer.replay("x")
    (delivery,) = wait_until(claim, "the replayed event")
    assert delivery.payload == payload
    assert timer.confirm(delivery)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_any_payloads_come_back_together(store, claim, payloads):
    store.post([event(str(i), PAST_MS + i, payload=payload) for i, payload in enumerate(payloads)])
    deliveries = claim()
    assert [delivery.payload for delivery in deliveries] == payloads
    assert list(store.ask(store.confirm("default", deliveries))) == [1] * len(payloads)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    event_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50),
    queue=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50),
    reason=st.text(st.characters(exclude_categories=["Cs"])),
    holder=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_id_queue_reason_and_holder_goes_through_every_station(
    timer, store, claim, event_id, queue, reason, holder
):
    seed(store, event(event_id, queue=queue))
    assert timer.change_eta(event_id, at(PAST_MS + 1))
    assert [(row.id, row.queue) for row in timer.upcoming()] == [(event_id, queue)]
    (delivery,) = claim(queue, holder=holder)
    assert (delivery.id, delivery.queue) == (event_id, queue)
    assert timer.peek(event_id).holder == (holder or None)
    assert list(store.ask(store.park(queue, [delivery], reason))) == [1]
    assert timer.peek(event_id).reason == (reason or None)
    assert timer.replay(event_id, 60)
    assert timer.cancel(event_id)
    assert timer.peek(event_id) is None


@pytest.mark.parametrize("payload", ["text", bytearray(b"text"), memoryview(b"text")])
def test_text_is_stored_as_utf_8_and_other_buffers_as_their_bytes(timer, payload):
    timer.post(payload, 60, id="x")
    assert timer.peek("x").payload == b"text"


def test_text_beyond_ascii_is_measured_and_stored_in_bytes(timer):
    timer.post("é☃", 60, id="x")
    assert timer.peek("x").payload == "é☃".encode()
