"""Tasks whose post waits for replicas: told apart from posts that failed, and never a conflict with themselves."""

import threading

import pytest
from rig.waiting import wait_until

from celery_dtimer import NotReplicatedError, get_timer

POLICY = {"max_retries": 50, "interval_start": 0.1, "interval_step": 0, "interval_max": 0.1}


@pytest.fixture
def make_note(make_app):
    """Makes an app of a Redis without replicas, and a task of it."""

    def make(url, **settings):
        app = make_app(dtimer_url=url, dtimer_wait_replicas=1, **{"dtimer_wait_timeout": 0.05, **settings})

        @app.task
        def note():
            pass

        return note

    return make


def test_a_task_that_no_replica_has_is_stored_once_and_says_so(make_note, start_redis):
    server = start_redis()
    note = make_note(server.url)
    with pytest.raises(NotReplicatedError) as caught:
        note.post_in(60)
    with server.client() as client:
        # The script is sent in full to a server that did not know it, and again when the namespace is new.
        assert client.info("commandstats")["cmdstat_eval"]["calls"] == 2
    (task_id,) = caught.value.event_ids
    timer = get_timer(note.app)
    assert timer.peek(task_id) is not None
    assert timer.count().pending == 1


def test_a_task_that_was_taken_over_says_so_too(make_note, start_redis):
    note = make_note(start_redis().url, dtimer_takeover=10)
    with pytest.raises(NotReplicatedError):
        note.apply_async(countdown=60)
    assert get_timer(note.app).count().pending == 1


@pytest.mark.slow
def test_a_task_whose_server_dies_while_it_waits_is_posted_again_and_no_conflict(make_note, start_redis):
    server = start_redis(options={"appendonly": "yes", "appendfsync": "always"})
    note = make_note(server.url, dtimer_wait_timeout=4)

    def restart():
        with server.client() as client:
            wait_until(lambda: "wait" in {row["cmd"] for row in client.client_list()}, "the post to wait")
        server.kill()
        server.start()

    thread = threading.Thread(target=restart)
    thread.start()
    with pytest.raises(NotReplicatedError) as caught:
        note.post((), delay=60, retry_policy=POLICY)
    thread.join()
    assert get_timer(note.app).peek(caught.value.event_ids[0]) is not None
    assert get_timer(note.app).count().pending == 1
