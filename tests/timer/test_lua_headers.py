"""The headers of the Lua scripts say what the scripts and their callers do."""

import re
from dataclasses import replace
from importlib import resources

import lua_headers
import pytest

from celery_dtimer.timer import storing
from celery_dtimer.timer.connecting.steps import run
from celery_dtimer.timer.events import Delivery, NewEvent, Verdict
from celery_dtimer.timer.storing import scripts
from celery_dtimer.timer.storing.exporting import exported
from celery_dtimer.timer.storing.keys import TYPES, Keys
from celery_dtimer.timer.storing.limiting import limit_value
from celery_dtimer.timer.storing.parking import Position
from celery_dtimer.timer.storing.shard import Store

KEYS = Keys("dt")
EVENT = NewEvent(id="x", payload=b"p", clock="in", when_ms=5, max_redeliveries=1, queue="q")
DELIVERY = Delivery(id="x", payload=b"", queue="q", due_ms=1, redeliveries=0, max_redeliveries=1, key=b"k", token="t")


SHARED = ("common", *(part for parts in (*scripts.PARTS.values(), *scripts.AHEAD.values()) for part in parts))


class Recorder(Store):
    """A store that sends nothing, and remembers what it would have sent."""

    def __init__(self):
        super().__init__(None, KEYS)
        self.calls = []

    def run_all_steps(self, calls, *_, **__):
        self.calls += calls
        yield from ()
        return [self.replies.get(call.script.name, []) for call in calls]

    def queues_steps(self, _):
        yield from ()
        return [["q", "r"]]

    replies = {  # noqa: RUF012
        "cancel": [0, b"", b"", 0, 0, 0, 0, b"", b"", b""],
        "change": [0, b"", b"", 0, 0, 0, 0, b"", b"", b""],
        "count": [0, 0, 0, 0],
        "replay": [-1, 1],
        "parked": [0, b"", []],
        "tagged": [b"", []],
        "sift": [b"", b"", []],
        "post": [1],
        "hold": 0,
        "limit": 0,
        "forecast": [[], []],
        "export": [b"", b"", []],
    }


def call_everything():
    recorder = Recorder()
    recorder.post([EVENT])
    recorder.post([replace(EVENT, kind=b"kind", tags=("a", "b"))])
    recorder.post([EVENT, EVENT], conflict="postpone", max_wait_ms=5)
    recorder.post([EVENT], conflict="follow", origin=b"x\xff1")
    recorder.cancel("x")
    recorder.cancel("x", if_due_ms=5)
    recorder.ask(recorder.cancelling("x", if_tag="tag", if_kind=b"kind"))
    recorder.ask(recorder.changing("x", "at", 5, if_tag="tag", if_kind=b"kind"))
    list(recorder.tagged("tag", "any"))
    list(recorder.tagged("tag", "waits", offset_ms=1, duration_ms=2, payloads=True))
    list(recorder.sifted(b"kind", "q", held=False))
    list(recorder.sifted(b"kind", "q", held=True, offset_ms=1, duration_ms=2, payloads=True))
    recorder.change("x", "in", 5)
    recorder.change("x", "at", 5, if_due_ms=5)
    recorder.peek("x")
    run(recorder.upcoming_steps(["q"], offset_ms=None, duration_ms=None, skip=0, limit=1, payloads=False))
    run(recorder.upcoming_steps(["q", "r"], offset_ms=1, duration_ms=2, skip=0, limit=1, payloads=True))
    run(recorder.count_steps())
    run(recorder.count_steps(offset_ms=1, duration_ms=2))
    recorder.replay("x", 5)
    recorder.unpark("drop", [("x", 0), (b"x\xff1", 0)], ["q", "r"])
    for position in (None, Position(5, b"x\xff1")):
        list(recorder.parked(position, limit=5, kind=b"kind", reason="why", prefix=""))
    list(recorder.parked(None, limit=5, kind=b"", reason="", prefix="", event_id="x"))
    recorder.ask(recorder.drop_old(5))
    recorder.hold("q")
    recorder.resume("q")
    recorder.hold_kind("kind")
    recorder.resume_kind("kind")
    recorder.limit(limit_value(500, 10), "me", "why")
    recorder.limit("", "", "")
    recorder.forecast(offset_ms=0, step_ms=5, intervals=3)
    list(exported([recorder], queues=["q"], parked=True))
    for queues in (["q"], ["q", "r"]):
        recorder.ask(recorder.claim(queues, listener="l", holder="h", nonce="n", room=1, lease_ms=5))
    verdicts = [
        Verdict(DELIVERY, action, 5, "why", "ValueError: no")
        for action in ("confirm", "end", "renew", "release", "return", "leave", "park", "put_aside")
    ]
    for some in (verdicts[:1], verdicts):
        recorder.ask(recorder.verdicts("q", some))
    return recorder.calls


CALLS = call_everything()


def test_every_script_has_a_file_and_every_file_a_script():
    files = {file.name for file in resources.files(storing).joinpath("lua").iterdir()}
    assert files == {f"{name}.lua" for name in (*scripts.NAMES, *SHARED)}


@pytest.mark.parametrize("name", scripts.NAMES)
def test_the_header_of_a_script_says_what_its_body_does(name):
    assert lua_headers.check(name, scripts.read(name), TYPES) == []


@pytest.mark.parametrize("name", SHARED)
def test_what_the_scripts_share_uses_each_key_by_its_type(name):
    _, body = lua_headers.split(scripts.read(name))
    assert lua_headers.check_commands(body, TYPES) == []


def test_what_the_scripts_share_says_what_each_key_holds():
    said = set(re.findall(r"^--   (\w+)(?:, (\w+))? +(?:hash|zset|list|string) ", scripts.read("common"), re.MULTILINE))
    named = {name for pair in said for name in pair if name}
    assert named == set(TYPES) - {"polls", "layout", "wait"}


def test_every_script_is_called():
    assert {call.script.name for call in CALLS} == set(scripts.NAMES)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.script.name}-{len(call.args)}")
def test_python_calls_a_script_as_its_header_says(call):
    assert lua_headers.check_call(scripts.read(call.script.name), call.keys, call.args, KEYS.prefix) == []


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.script.name}-{len(call.args)}")
def test_a_call_has_no_more_arguments_than_every_server_takes(call):
    assert len(call.keys) + len(call.args) < 3_990


DRIFT = [
    ("count", "-- count: ", "-- number: ", "the header's name is 'number'"),
    ("count", "-- count: ", "-- ", "not '-- name: what'"),
    ("cancel", "-- KEYS events, leased", "-- KEYS events, aside", "unknown key aside"),
    ("cancel", "-- KEYS events, ", "-- KEYS ", "events is used, and not named"),
    ("peek", "-- KEYS events, ", "-- KEYS events, damaged, ", "damaged is named, and not used"),
    ("cancel", "local id = ARGV[1]", "", "ARGV: the header says"),
    ("cancel", "local id = ARGV[1]", "local id = ARGV[1]\nlocal id = ARGV[1]", "ARGV: the header says"),
    ("cancel", "'HDEL', parked", "'HDEL', KEYS[3]", "KEYS is used"),
    ("cancel", "'HDEL', parked", "'ZREM', parked", "ZREM on parked, which is a hash"),
    ("peek", "-- reply: ", "-- answer: ", "there is no reply"),
    ("peek", "-- cost: ", "-- price: ", "there is no cost"),
    ("change", "tonumber(ARGV[3])", "ARGV[3]", "ARGV: the header says"),
    ("change", "-- ARGV[3] when_ms         ms", "-- ARGV[3] when_ms         string", "is of type string"),
    ("change", "when_ms", "when", "when is of type ms"),
    ("change", "local when_ms = tonumber(ARGV[3])", "local now = 1", "ARGV: the header says"),
    ("change", "-- reply", "-- ARGV[7] extra           string\n-- reply", "ARGV: the header says"),
    ("change", "announce(place, due_ms)", "announce(place, ARGV[3])", "ARGV[3] is used below"),
    ("post", "ARGV[i], ARGV[i + 1]", "ARGV[i + 1], ARGV[i]", "the groups are not bound"),
    ("post", "tonumber(ARGV[i + 2])", "ARGV[i + 2]", "the groups are not bound"),
    ("post", "ms, count, bytes, string", "ms, count, string", "has 6 names and 5 types"),
    ("verdicts", "-- ARGV[1..] action, delay_ms", "-- ARGV[1..] error, delay_ms", "the groups are not bound"),
    ("claim", "redis.call('DEL', place.wake)", "redis.call('HGET', place.wake)", "HGET on wake, which is a list"),
    ("post", "'ZADD', here.due, ", "'RPUSH', here.due, ", "RPUSH on due, which is a zset"),
]


@pytest.mark.parametrize(("name", "old", "new", "found"), DRIFT)
def test_a_planted_drift_is_found(name, old, new, found):
    source = scripts.read(name)
    assert old in source
    problems = lua_headers.check(name, source.replace(old, new), TYPES)
    assert any(found in problem for problem in problems), problems


CALL_DRIFT = [
    (lambda call: (call.keys[::-1], call.args), "the keys are"),
    (lambda call: (call.keys[:-1], call.args), "the keys are"),
    (lambda call: ((*call.keys, "{dt:0}:parked"), call.args), "the keys are"),
    (lambda call: (call.keys, (*call.args, "extra")), "arguments do not fit"),
    (lambda call: (call.keys, call.args[:-1]), "arguments do not fit"),
    (lambda call: (call.keys, (*call.args[:2], 1.5, *call.args[3:])), "max_wait_ms is of type ms"),
    (lambda call: (call.keys, (*call.args[:7], "text", *call.args[8:])), "payload is of type bytes"),
]


@pytest.mark.parametrize(("drift", "found"), CALL_DRIFT)
def test_a_call_that_does_not_go_with_the_header_is_found(drift, found):
    keys, args = drift(CALLS[0])
    problems = lua_headers.check_call(scripts.read("post"), keys, args, KEYS.prefix)
    assert any(found in problem for problem in problems), problems
