"""A listener that holds all it may leaves the rest to others, at once."""

import time

from rig.waiting import wait_until

from celery_dtimer import DTimer


def blocked(client):
    return any(connection["cmd"] == "blpop" for connection in client.client_list())


def test_a_listener_that_has_just_filled_up_does_not_keep_the_wake_token_that_it_pushed(redis_url, redis_client):
    with DTimer(redis_url, max_events=1, confirm_timeout=30) as full, DTimer(redis_url) as free:
        held, late_ms = [], []
        full.on_event(held.append)

        @free.on_event
        def take(delivery):
            late_ms.append(time.time() * 1000 - delivery.due_ms)
            free.confirm_soon(delivery)

        full.join()
        # It has promised the first of these, and is full then; the other looks by itself at 0, 1 and 2 s only.
        full.post("fills it", 1.2)
        for i in range(4):
            full.post("is for the other", 1.3 + 0.1 * i)
        # Redis serves first who has blocked longest.
        wait_until(lambda: blocked(redis_client), "the first listener to block")
        free.join()
        wait_until(lambda: len(held) == 1 and len(late_ms) == 4, "the events to be delivered")
        assert max(late_ms) < 300
        assert full.confirm(held[0])
