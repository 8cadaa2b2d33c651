"""What a DTimer holds: who holds it, since when and why; in all shards; and what a hold that meets a resume leaves."""

import getpass
import socket
from datetime import UTC, datetime

import pytest
from rig.keyspace import snapshot
from rig.waiting import wait_until
from seeds import event, seed

from celery_dtimer import DTimer, Hold, InvalidEventError, Post, TooManyHoldsError
from celery_dtimer.timer.storing.shard import Store


def facts(hold):
    return hold.what, hold.name, hold.by, hold.why, hold.complete


def test_a_hold_says_who_holds_since_when_and_why_and_one_that_is_made_again_says_it_anew(timer, now_ms):
    before = now_ms()
    assert timer.hold(queue="mail", why="the server\nis down", by="ann") is True
    assert timer.hold(kind="proj.a") is True
    proj, mail = sorted(timer.holds(), key=lambda hold: hold.what)
    assert facts(mail) == ("queue", "mail", "ann", "the server\nis down", True)
    assert facts(proj) == ("kind", "proj.a", f"{getpass.getuser()}@{socket.gethostname()}", "", True)
    assert before <= mail.since.timestamp() * 1000 <= now_ms()
    assert timer.hold(queue="mail", by="bob") is False
    assert ("queue", "mail", "bob", "", True) in map(facts, timer.holds())
    assert mail.as_dict() | {"since": 0} == {
        "what": "queue",
        "name": "mail",
        "by": "ann",
        "why": "the server\nis down",
        "since": 0,
        "complete": True,
    }


def test_a_resume_says_whether_it_was_held_and_leaves_nothing(timer, redis_client):
    timer.hold(queue="mail")
    timer.hold(kind="proj.a")
    assert timer.resume(kind="mail") is timer.resume(queue="proj.a") is False
    assert timer.resume(queue="mail") is timer.resume(kind="proj.a") is True
    assert timer.resume(queue="mail") is timer.resume(kind="proj.a") is False
    assert timer.holds() == []
    assert snapshot(redis_client) == {}


def test_a_listener_leaves_a_kind_that_is_held_and_has_it_when_it_is_resumed(timer):
    seen = []
    timer.on_event(lambda delivery: (seen.append(delivery.id), timer.confirm(delivery)))
    timer.hold(kind="letters")
    timer.join()
    timer.post(b"", 0, id="held", kind="letters")
    timer.post_many([Post(b"", 0.05, id="other", kind="parcels"), Post(b"", 0.1, id="none")])
    wait_until(lambda: len(seen) == 2, "two events")
    assert sorted(seen) == ["none", "other"]
    timer.resume(kind="letters")
    wait_until(lambda: "held" in seen, "the third")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "queue must be given, or kind, and not both, got {'queue': None, 'kind': None}"),
        ({"queue": "q", "kind": "k"}, "queue must be given, or kind, and not both, got {'queue': 'q', 'kind': 'k'}"),
        ({"queue": ""}, "queue must be a string of 1 to 255 bytes of UTF-8, got ''"),
        ({"kind": ""}, "kind must be a string of 1 to 255 bytes of UTF-8, got ''"),
        ({"kind": 5}, "kind must be a string of 1 to 255 bytes of UTF-8, got 5"),
        ({"queue": "q", "why": None}, "why must be a string of 0 to 1000 bytes of UTF-8, got None"),
        ({"queue": "q", "why": "é" * 501}, "why must be a string of 0 to 1000 bytes of UTF-8, got "),
        ({"queue": "q", "why": "\ud800"}, "why must be a string of 0 to 1000 bytes of UTF-8, got "),
        ({"queue": "q", "by": ""}, "by must be a string of 1 to 255 bytes of UTF-8, got ''"),
        ({"queue": "q", "by": "a\nb"}, r"by must be one line, got 'a\nb'"),
    ],
)
def test_what_can_not_be_held_is_refused_and_nothing_is(timer, redis_client, arguments, said):
    with pytest.raises(InvalidEventError) as caught:
        timer.hold(**arguments)
    assert said in str(caught.value)
    assert snapshot(redis_client) == {}


def test_a_kind_too_many_is_refused_by_name(timer):
    for number in range(27):
        timer.hold(kind=f"kind{number}")
    with pytest.raises(TooManyHoldsError, match=r"27 tasks at most are held at a time, and 'more' would be one more"):
        timer.hold(kind="more")
    assert len(timer.holds()) == 27


def test_a_kind_that_is_held_again_while_it_is_resumed_stays_held_with_all_that_was_set_aside(store, claim):
    seed(store, event("x", kind="proj.a"), event("y", kind="proj.a"))
    store.hold_kind("proj.a")
    assert claim() == []

    class Resumer(Store):
        """Somebody holds the kind again, when the resume has begun and when it is nearly done."""

        def ask(self, call, *event_ids, **more):
            if call.args[0] in ("take_back", "forget_kind"):
                assert store.hold_kind("proj.a") == 2
                claim()
            return super().ask(call, *event_ids, **more)

    Resumer(store.server, store.keys).resume_kind("proj.a")
    assert claim() == []
    (hold,) = store.holds()
    assert hold.complete
    assert store.resume_kind("proj.a")
    assert sorted(delivery.id for delivery in claim()) == ["x", "y"]


def test_a_resume_that_is_interrupted_is_listed_and_goes_on_when_it_is_done_again(timer, store, claim):
    seed(store, event("x", kind="proj.a"))
    timer.hold(kind="proj.a", why="slow")
    assert claim() == []
    store.ask(store.call("hold", [], "resume_kind", "proj.a", 0, "", ""))
    (hold,) = timer.holds()
    assert (hold.why, hold.complete) == ("slow", False)
    assert claim() == []
    assert timer.resume(kind="proj.a")
    assert [delivery.id for delivery in claim()] == ["x"]
    assert timer.holds() == []


def test_a_full_redis_lets_hold_and_resume(start_redis):
    server = start_redis(options={"maxmemory-policy": "noeviction"})
    with DTimer(server.url) as timer, server.client() as client:
        timer.post(b"", 0, id="x", kind="proj.a")
        timer.holds()
        client.config_set("maxmemory", 1)
        assert timer.hold(queue="mail")
        assert timer.hold(kind="proj.a")
        assert len(timer.holds()) == 2
        assert timer.resume(queue="mail")
        assert timer.resume(kind="proj.a")
        assert timer.cancel("x")


def test_a_hold_without_a_note_is_listed_too(timer, store, redis_client):
    redis_client.hset(store.keys.prefix + "holds", mapping={"queue mail": 1, "rate of something": 5})
    assert timer.holds() == [Hold("queue", "mail", "", "", datetime(1970, 1, 1, tzinfo=UTC))]
    assert timer.resume(queue="mail")
    redis_client.delete(store.keys.prefix + "holds")
