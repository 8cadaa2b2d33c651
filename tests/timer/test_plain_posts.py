"""Most posts take a short way through the script; what is stored, and the reply, are those of the long way."""

import re
from itertools import product

import pytest
from rig import declared
from seeds import FUTURE_MS

from celery_dtimer.testing.clock import CLOCK, by_test_clock
from celery_dtimer.timer.storing.keys import Keys
from celery_dtimer.timer.storing.scripts import AHEAD, Script, load

SHORT = load("post")
LONG = Script("post", SHORT.source.replace(declared.read(*AHEAD["post"]), ""), "", SHORT.keys)

#: The server's clock, in microseconds: in the middle of a millisecond.
NOW_US = "3999999000000500"
LATER_MS, SOONER_MS = FUTURE_MS + 1, 3_999_999_000_002

#: A lease's record behind its token.
LEASE = b"\n\x95\xa6holder\x00\xcb\x41\x00\x00\x00\x00\x00\x00\x00\xa1q\x14"

#: What there is already. An id is posted that is the beginning of another's, and has one as its beginning.
STATES = {
    "nothing": [],
    "another event": [("HSET", "events", "i", b"x"), ("ZADD", "due:q", LATER_MS, "i")],
    "its id waits": [("HSET", "events", "id", b"\x93\x14\xa1q\xa3old"), ("ZADD", "due:q", FUTURE_MS, "id")],
    "its id can't be read": [("HSET", "events", "id", b"broken")],
    "its id is claimed": [
        ("ZADD", "deliveries", 0, b"id\xff1-1"),
        ("HSET", "leased", b"id\xff1-1", b"token" + LEASE),
        ("ZADD", "lease:q", LATER_MS, b"id\xff1-1"),
    ],
    "its id was given back": [
        ("ZADD", "deliveries", 0, b"id\xff1-1", 0, b"id\xff9-9"),
        ("HSET", "leased", b"id\xff1-1", b"token" + LEASE, b"id\xff9-9", LEASE),
        ("ZADD", "due:q", LATER_MS, b"id\xff9-9"),
    ],
    "its id is claimed, and can't be read": [("ZADD", "deliveries", 0, b"id\xff1-1")],
    "others are claimed": [("ZADD", "deliveries", 0, b"i\xff1-1", 0, b"id1\xff1-1", 0, b"id\xfe")],
    "another type": [("SET", "events", "text")],
    "another layout": [("SET", "layout", "2/1")],
    "no layout": [("DEL", "layout")],
}
PROMISES = {
    "none": [],
    "a sooner one": [("HSET", "promise", "q", f"{SOONER_MS} a listener")],
    "a later one": [("HSET", "promise", "q", f"{LATER_MS} listener")],
    "nobody's": [("HSET", "promise", "q", f"{LATER_MS} "), ("RPUSH", "wake:q", "1")],
    "broken": [("HSET", "promise", "q", "soon")],
    "before 1970": [("HSET", "promise", "q", "-5 x")],
}
TIMES = [("at", FUTURE_MS), ("at", 1), ("in", 0), ("in", 1_000_000), ("in", -5)]
EVENTS = [(20, b"payload", b""), (0, b"", b"a task"), (1, b"\xff" * 300, "ä".encode()), (20, b"x", b"kind\xffa tag")]


def carried_out(client, script, state, args):
    """The reply to a post in a state, and all that is there then."""
    keys = Keys("one")
    prefix = keys.prefix
    client.mset({keys.layout: "1/1", prefix + CLOCK: NOW_US})
    for name, key, *rest in state:
        client.execute_command(name, prefix + key, *rest)
    named = (*keys.named(script.keys, ("q",)), keys.layout, prefix + CLOCK)
    try:
        reply = client.eval(by_test_clock(script).source, len(named), *named, *args, "1/1")
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is compared
        # Without the script's digest, and the line in it.
        reply = re.sub(r"f_[0-9a-f]{40}|script:.*?:\d+", "", str(exc))
    found = {key: client.dump(key) for key in sorted(client.keys())}
    client.flushdb()
    return reply, found


@pytest.mark.parametrize("state", STATES)
def test_a_post_stores_and_answers_the_same_by_the_short_way_as_by_the_long_one(redis_client, state):
    for promise, (clock, when_ms), event in product(PROMISES, TIMES, EVENTS):
        before = STATES[state] + PROMISES[promise]
        args = ("error", "", 0, "id", clock, when_ms, *event)
        long, short = (carried_out(redis_client, script, before, args) for script in (LONG, SHORT))
        assert short == long, (promise, args)


@pytest.mark.parametrize("conflict", ["keep", "again", "replace", "postpone", "follow"])
@pytest.mark.parametrize("origin", ["", b"id\xff1-1"])
@pytest.mark.parametrize("max_wait_ms", [0, 10])
def test_a_post_on_conditions_is_the_same_by_the_short_way(redis_client, conflict, origin, max_wait_ms):
    for state in STATES.values():
        args = (conflict, origin, max_wait_ms, "id", "in", 1_000_000, 20, b"payload", b"a task")
        long, short = (carried_out(redis_client, script, state, args) for script in (LONG, SHORT))
        assert short == long, state


def test_the_short_way_is_taken_by_a_post_of_something_new(redis_client):
    keys = Keys("one")
    unfinished = SHORT.source.partition(declared.read(*AHEAD["post"]))
    named = (*keys.named(SHORT.keys, ("q",)), keys.layout)
    redis_client.set(keys.layout, "1/1")
    args = ("error", "", 0, "id", "at", FUTURE_MS, 20, b"payload", b"", "1/1")
    assert redis_client.eval("".join(unfinished[:2]) + "return 'not taken'", len(named), *named, *args) == [FUTURE_MS]
    assert redis_client.eval("".join(unfinished[:2]) + "return 'not taken'", len(named), *named, *args) == b"not taken"
    redis_client.flushdb()
