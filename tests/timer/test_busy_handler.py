"""A handler that takes long, or decides in another thread, takes nothing from others."""

import threading

import pytest
from rig.waiting import wait_until
from seeds import event, seed

from celery_dtimer.timer.dtimer import DTimer

LONG = 60.0  # seconds that no test waits: what needs so long has failed


def blocked(client):
    return client.info("clients")["blocked_clients"]


@pytest.fixture
def stuck(redis_url, redis_client):
    """A timer whose handler is stuck with its first event."""
    free, entered = threading.Event(), threading.Event()
    with DTimer(redis_url, confirm_timeout=LONG, poll_interval=LONG) as stuck:

        @stuck.on_event
        def handle(delivery):
            entered.set()
            free.wait()
            stuck.confirm(delivery)

        stuck.join()
        wait_until(lambda: blocked(redis_client) == 1, "it to wait for a token")
        stuck.post(b"p", 0, id="first")
        assert entered.wait(10)
        yield stuck
        free.set()
        wait_until(lambda: stuck.peek("first") is None, "the stuck one to go on")


def test_a_listener_that_is_stuck_in_its_handler_gives_a_wake_token_back(stuck, redis_url, redis_client):
    rung = []
    with DTimer(redis_url, confirm_timeout=LONG, poll_interval=LONG) as idle:
        idle.on_event(lambda delivery: rung.append(delivery.id) or idle.confirm(delivery))
        idle.join()
        # The stuck one has waited for longer: the token is its.
        wait_until(lambda: blocked(redis_client) == 2, "both to wait for a token")
        for number in range(3):
            stuck.post(b"p", 0, id=str(number))
            wait_until(lambda: len(rung) > number, "the idle one to be woken")  # noqa: B023 - called at once
    assert rung == ["0", "1", "2"]


def test_what_was_not_handed_over_before_its_lease_lapsed_is_left_to_who_has_claimed_it(
    timer, store, claim, redis_client, now_ms
):
    rung, claimed = [], []

    def lapsed():
        instants = redis_client.zrange("{dt:0}:lease:default", 0, -1, withscores=True)
        return instants and max(instant for _, instant in instants) < now_ms()

    with DTimer(redis_client, confirm_timeout=0.5) as slow:

        @slow.on_event
        def handle(delivery):
            rung.append(delivery.id)
            if delivery.id == "slow":
                wait_until(lapsed, "both leases to lapse")
                claimed.extend(claim())
            slow.confirm(delivery)

        seed(store, event("slow"), event("waits", event("slow").when_ms + 1))
        slow.join()
        wait_until(lambda: claimed, "another one to claim both")
        slow.post(b"p", 0, id="next")
        wait_until(lambda: "next" in rung, "the next event")
    assert rung == ["slow", "next"]
    assert [delivery.id for delivery in claimed] == ["slow", "waits"]
    assert all(store.ask(store.confirm("default", claimed)))


def test_a_renewal_that_comes_after_the_confirm_takes_no_room(redis_url):
    rung = []
    with DTimer(redis_url, max_events=1, confirm_timeout=LONG) as timer:

        @timer.on_event
        def handle(delivery):
            rung.append(delivery.id)
            timer.confirm(delivery)
            timer._listener.renewed(delivery)  # as a heartbeat whose answer came a moment too late

        for name in ("first", "second"):
            timer.post(b"p", 0, id=name)
        timer.join()
        wait_until(lambda: rung == ["first", "second"], "the second event to have room")
