"""The headers of the Lua scripts say what the scripts and their callers do."""

from importlib import resources

import lua_headers
import pytest

from celery_dtimer import timer
from celery_dtimer.timer import scripts
from celery_dtimer.timer.events import Delivery, NewEvent
from celery_dtimer.timer.keys import Keys
from celery_dtimer.timer.store import Store

KEYS = Keys("dt")
TYPES = {
    "events": "hash",
    "leased": "hash",
    "parked": "hash",
    "promise": "hash",
    "polls": "hash",
    "due": "zset",
    "lease": "zset",
    "wake": "list",
    "shards": "string",
}
DELIVERY = Delivery(id="x", payload=b"", queue="q", due_ms=1, redeliveries=0, max_redeliveries=1, key="k", token="t")
EVENT = NewEvent(id="x", payload=b"p", clock="in", when_ms=5, max_redeliveries=1, queue="q")


class Recorder(Store):
    """A store that sends nothing, and remembers what it would have sent."""

    def __init__(self):
        super().__init__(None, KEYS)
        self.calls = []

    def run(self, call):
        self.calls.append(call)
        return self.replies.get(call.script.name, [])

    replies = {"cancel": 0, "change": -1, "count": [0, 0, 0], "replay": -1, "post": [1]}  # noqa: RUF012


def call_everything():
    recorder = Recorder()
    recorder.post([EVENT])
    recorder.post([EVENT, EVENT], conflict="postpone", max_wait_ms=5)
    recorder.cancel("x")
    recorder.change("x", "in", 5)
    recorder.peek("x")
    recorder.upcoming(offset_ms=None, duration_ms=None, skip=0, limit=1, payloads=False)
    recorder.upcoming(offset_ms=1, duration_ms=2, skip=0, limit=1, payloads=True)
    recorder.count()
    recorder.count(offset_ms=1, duration_ms=2)
    recorder.replay("x", 5)
    recorder.run(recorder.shards(4))
    for queues in (["q"], ["q", "r"]):
        recorder.run(recorder.claim(queues, listener="l", holder="h", nonce="n", room=1, lease_ms=5))
    for deliveries in ([DELIVERY], [DELIVERY, DELIVERY]):
        recorder.run(recorder.confirm("q", deliveries))
        recorder.run(recorder.renew("q", 5, deliveries))
        recorder.run(recorder.release("q", deliveries, backoff_ms=5, counted=True, reason="r"))
        recorder.run(recorder.park("q", deliveries, "r"))
    return recorder.calls


CALLS = call_everything()


def test_every_script_has_a_file_and_every_file_a_script():
    files = {file.name for file in resources.files(timer).joinpath("lua").iterdir()}
    assert files == {f"{name}.lua" for name in (*scripts.NAMES, "common")}


@pytest.mark.parametrize("name", scripts.NAMES)
def test_the_header_of_a_script_says_what_its_body_does(name):
    assert lua_headers.check(name, scripts.read(name), TYPES) == []


def test_a_key_has_the_same_type_in_every_header():
    for name in scripts.NAMES:
        slots = lua_headers.parse(scripts.read(name)).slots["KEYS"]
        assert {slot.name: slot.type for slot in slots.fixed + slots.tail}.items() <= TYPES.items()


def test_what_the_scripts_share_uses_each_key_by_its_type():
    _, body = lua_headers.split(scripts.read("common"))
    assert lua_headers.check_commands(body, TYPES | {"zset": "zset"}) == []


def test_every_script_is_called():
    assert {call.script.name for call in CALLS} == set(scripts.NAMES)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.script.name}-{len(call.args)}")
def test_python_calls_a_script_as_its_header_says(call):
    assert lua_headers.check_call(scripts.read(call.script.name), call.keys, call.args, KEYS.prefix) == []


DRIFT = [
    ("renew", "-- renew: ", "-- renewal: ", "the header's name is 'renewal'"),
    ("renew", "-- renew: ", "-- ", "not '-- name: what'"),
    ("cancel", "-- KEYS[3] parked ", "-- KEYS[3] aside ", "KEYS: the header says"),
    ("cancel", "local parked = KEYS[3]", "local aside = KEYS[3]", "KEYS: the header says"),
    ("cancel", "local leased = KEYS[2]", "local leased = KEYS[3]", "KEYS: the header says"),
    ("cancel", "local id = ARGV[2]", "", "ARGV: the header says"),
    ("cancel", "local id = ARGV[2]", "local id = ARGV[2]\nlocal id = ARGV[2]", "ARGV: the header says"),
    ("cancel", "HDEL', parked", "HDEL', KEYS[3]", "KEYS[3] is used below"),
    ("cancel", "HDEL', parked", "ZREM', parked", "ZREM on parked, which is a hash"),
    ("cancel", "'ZREM', prefix .. 'due:'", "'HDEL', prefix .. 'due:'", "HDEL on due, which is a zset"),
    ("cancel", "-- KEYS[4] promise", "-- KEYS[5] promise", "KEYS[5] is out of order"),
    ("cancel", "-- KEYS[3] parked          hash", "-- KEYS[3] parked          zset", "HDEL on parked"),
    ("cancel", "-- KEYS[3] parked          hash", "-- KEYS[3] parked          set", "unknown type set"),
    ("peek", "-- reply: ", "-- answer: ", "there is no reply"),
    ("peek", "-- cost: ", "-- price: ", "there is no cost"),
    ("change", "tonumber(ARGV[4])", "ARGV[4]", "ARGV: the header says"),
    ("change", "-- ARGV[4] when_ms         ms", "-- ARGV[4] when_ms         string", "is of type string"),
    ("change", "when_ms", "when", "when is of type ms"),
    ("replay", "local delay_ms = tonumber(ARGV[3])", "local now = 1", "ARGV: the header says"),
    ("replay", "-- reply", "-- ARGV[4] extra           string\n-- reply", "ARGV: the header says"),
    ("replay", "return due_ms", "return ARGV[4]", "ARGV[4] is used below"),
    ("post", "for i = 5, #ARGV, 5", "for i = 5, #ARGV, 6", "no loop starts at 5 and goes by 5"),
    ("post", "for i = 5, #ARGV, 5", "for i = 4, #ARGV, 5", "no loop starts at 5"),
    ("post", "ARGV[i], ARGV[i + 1]", "ARGV[i + 1], ARGV[i]", "the groups are not bound"),
    ("post", "tonumber(ARGV[i + 2])", "ARGV[i + 2]", "the groups are not bound"),
    ("post", "ms, count, bytes: one", "ms, count: one", "has 5 names and 4 types"),
    ("post", "due_ms = when_ms\n", "due_ms = ARGV[i + 2]\n", "used 6 times"),
    ("claim", "KEYS[i + 1], KEYS[i + 2]", "KEYS[i + 2], KEYS[i + 1]", "the groups are not bound"),
    ("claim", "ARGV[10 + number]", "ARGV[9 + number]", "the groups are not bound"),
    ("claim", "-- ARGV[10..] queue", "-- ARGV[11..] queue", "ARGV[11] is out of order"),
    ("confirm", "-- ARGV[2..] key, token, id", "-- ARGV[2..] key, id, token", "the groups are not bound"),
    ("claim", "redis.call('DEL', wake)", "redis.call('HGET', wake)", "HGET on wake, which is a list"),
    ("post", "'ZADD', due, ", "'RPUSH', due, ", "RPUSH on due, which is a zset"),
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
    (lambda call: (call.keys, (*call.args[:8], "text")), "payload is of type bytes"),
]


@pytest.mark.parametrize(("drift", "found"), CALL_DRIFT)
def test_a_call_that_does_not_go_with_the_header_is_found(drift, found):
    keys, args = drift(CALLS[0])
    problems = lua_headers.check_call(scripts.read("post"), keys, args, KEYS.prefix)
    assert any(found in problem for problem in problems), problems
