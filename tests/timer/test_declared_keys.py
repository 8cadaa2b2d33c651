"""Scripts touch the keys that their callers name, and no others; these tests and the workers' run behind that guard."""

import pytest
from rig import declared
from seeds import FUTURE_MS, event, seed

from celery_dtimer.timer.storing import scripts


def test_every_script_of_this_process_is_guarded():
    for name in scripts.NAMES:
        in_front, guard, _ = scripts.load(name).source.partition(declared.GUARD)
        assert guard
        assert "redis." not in in_front


def test_a_key_that_the_caller_did_not_name_fails_the_script(store, redis_client):
    script = scripts.load("peek")
    body = script.source.replace("local id = ARGV[1]", "local id = redis.call('GET', 'another')")
    seed(store, event("x", FUTURE_MS))
    with pytest.raises(Exception, match="UNNAMED GET .*another"):
        redis_client.eval(body, len(script.keys) + 1, *store.keys.named(script.keys, ()), store.keys.layout, "x", "1/1")


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.cancel("x"),
        lambda store: store.change("x", "at", FUTURE_MS),
        lambda store: store.peek("x"),
        lambda store: store.post([event("x", queue="here")], conflict="replace"),
        lambda store: store.post([event("x", queue="here")], conflict="keep"),
        lambda store: store.post([event("x", queue="here")], conflict="postpone"),
    ],
)
def test_an_event_in_another_queue_than_was_thought_is_found_with_a_second_call(store, ask, monkeypatch):
    seed(store, event("x", FUTURE_MS, queue="there"), event("y", FUTURE_MS, queue="here"))
    calls, run_all = [], store.run_all_steps
    monkeypatch.setattr(
        store, "run_all_steps", lambda *some, **options: calls.append(some) or run_all(*some, **options)
    )
    assert ask(store)
    assert len(calls) == 2
    store.cancel("x")
    calls.clear()
    store.peek("y")
    assert len(calls) <= 2
