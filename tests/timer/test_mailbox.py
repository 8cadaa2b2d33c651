"""The mailbox of a listener's loop: what is left in it is found in time, and nothing is lost or overtaken."""

import threading
import time

import pytest

from celery_dtimer.timer.listening.mailbox import Mailbox

FAR = 60.0  # seconds: no test waits for that


@pytest.fixture
def asleep():
    """Let a thread sleep at a mailbox until so many seconds from now; returns it and what it will have taken."""

    def fall_asleep(box, seconds):
        taken = []
        thread = threading.Thread(target=lambda: taken.extend(box.take(time.monotonic() + seconds)), daemon=True)
        thread.start()
        while not box._looks_at:
            time.sleep(0.001)
        return thread, taken

    return fall_asleep


def test_a_note_wakes_a_loop_that_sleeps(asleep):
    box = Mailbox()
    thread, taken = asleep(box, FAR)
    box.put("now")
    thread.join(10)
    assert taken == ["now"]


def test_a_note_that_may_wait_wakes_a_loop_that_sleeps_for_longer(asleep):
    box = Mailbox()
    thread, taken = asleep(box, FAR)
    box.leave("soon", patience=1.0)
    thread.join(10)
    assert taken == ["soon"]


def test_a_note_that_may_wait_leaves_a_loop_asleep_that_looks_in_time(asleep):
    box = Mailbox()
    thread, taken = asleep(box, FAR)
    box.leave("later", patience=2 * FAR)
    assert thread.is_alive()
    assert not taken
    box.put("now")
    thread.join(10)
    assert taken == ["later", "now"]


def test_a_note_that_was_left_while_the_loop_was_awake_is_found_before_it_sleeps():
    box = Mailbox()
    box.leave("left", patience=2 * FAR)
    begun = time.monotonic()
    assert list(box.take(begun + FAR)) == ["left"]
    assert time.monotonic() < begun + FAR


def test_no_note_of_many_threads_is_lost_or_overtaken():
    box, senders, each = Mailbox(), 8, 500
    taken = []

    def send(sender):
        for number in range(each):
            if number % 3:
                box.leave((sender, number), patience=0.0005)
            else:
                box.put((sender, number))

    def loop():
        while len(taken) < senders * each:
            # What is left is found when it has to be, or this takes a minute.
            taken.extend(box.take(time.monotonic() + (0.0004 if len(taken) % 2 else FAR)))

    threads = [threading.Thread(target=loop), *(threading.Thread(target=send, args=(n,)) for n in range(senders))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(taken) == senders * each
    for sender in range(senders):
        assert [number for name, number in taken if name == sender] == list(range(each))
