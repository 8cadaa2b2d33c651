"""What signals, monitors and tracers see of a task that the timer fired: the same as of a plain one."""

from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from rig.waiting import wait_until

IN_THE_WORKER = {"task_received", "task_prerun", "task_postrun", "task_success"}


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "watched.py"


@pytest.fixture(autouse=True)
def uninstrumented(proj):
    """Instrumentation is the process's: it must not outlive the test."""
    yield
    from celery import signals

    proj.instrumentor.uninstrument()
    for name, receiver in zip(proj.SIGNALS, proj.receivers, strict=True):
        getattr(signals, name).disconnect(receiver)


def signals_of(seen, task_id):
    return Counter(name for name, seen_id in seen if seen_id == task_id)


def test_each_signal_fires_as_often_as_for_a_plain_task(proj, start_worker, wait_until_empty):
    start_worker(pool="threads")
    plain = proj.add.delay(1, 2)
    posted = proj.add.post_in(0.2, 1, 2)
    assert plain.get(timeout=10) == posted.get(timeout=10) == 3
    for result in (plain, posted):
        assert signals_of(proj.seen, result.id) == {"before_task_publish": 1, "after_task_publish": 1}
    in_worker = proj.look.delay().get(timeout=10)["signals"]
    assert signals_of(in_worker, posted.id) == signals_of(in_worker, plain.id)
    assert signals_of(in_worker, posted.id) == dict.fromkeys(IN_THE_WORKER, 1)
    wait_until_empty()


def test_the_spans_of_the_poster_and_of_the_worker_are_linked_across_the_delay(proj, start_worker, wait_until_empty):
    start_worker(pool="threads")
    with proj.tracer.start_as_current_span("checkout"):
        result = proj.add.post_in(0.3, 2, 3)
    assert result.get(timeout=10) == 5
    wait_until_empty()
    [checkout] = [span for span in proj.spans() if span["name"] == "checkout"]
    [produced] = [span for span in proj.spans() if span["name"] == "apply_async/proj.add"]
    found = proj.look.delay().get(timeout=10)["spans"]
    [consumed] = [span for span in found if span["name"] == "run/proj.add"]
    assert produced["parent"] == checkout["id"]
    assert consumed["parent"] == produced["id"]
    assert consumed["trace"] == str(produced["trace"]) == str(checkout["trace"])
    assert (produced["kind"], consumed["kind"]) == ("PRODUCER", "CONSUMER")


def test_a_monitor_sees_the_events_of_a_plain_task(proj, start_worker, wait_until_empty):
    start_worker(pool="threads", arguments=("--without-mingle", "-E"))
    state = proj.app.events.State()
    events = []
    with proj.app.connection_for_read() as connection:
        receiver = proj.app.events.Receiver(connection, handlers={"*": lambda e: (state.event(e), events.append(e))})
        with receiver.consumer_context() as (draining, _, _):
            # Over Redis, a receiver subscribes when it first looks.
            with suppress(TimeoutError):
                draining.drain_events(timeout=0.5)
            result = proj.add.post_in(0.3, 3, 4)

            def succeeded():
                with suppress(TimeoutError):
                    draining.drain_events(timeout=0.2)
                return any(e["type"] == "task-succeeded" and e["uuid"] == result.id for e in events)

            wait_until(succeeded, "the task-succeeded event", 15)
    kinds = [event["type"] for event in events if event.get("uuid") == result.id]
    assert kinds == ["task-sent", "task-received", "task-started", "task-succeeded"]
    task = state.tasks[result.id]
    assert task.name == "proj.add"
    assert task.args == "(3, 4)"
    sent = next(event for event in events if event["type"] == "task-sent")
    assert sent["eta"] is not None
    wait_until_empty()
