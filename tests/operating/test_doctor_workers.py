"""The doctor, and the liveness probe, with real workers: healthy, different, paused, killed, busy and frozen ones."""

import json
import threading
import time
from datetime import UTC, datetime

import pytest
from celery import Celery
from kombu.pidbox import Mailbox
from rig.waiting import wait_until

from celery_dtimer.operating.workers import fired_queues, timers_of_workers

PAST = datetime(2026, 1, 1, tzinfo=UTC)

#: What a worker of another version, or with another clock, has behind the project's module.
ODD = """
import time
from types import SimpleNamespace
from celery_dtimer.timer.listening import listener
if "ODD" in os.environ:
    celery_dtimer.__version__ = "0.0.1"
    listener.time = SimpleNamespace(time=lambda: time.time() + 5, monotonic=time.monotonic, sleep=time.sleep)
"""


@pytest.fixture
def app_file(app_file, tmp_path):
    file = tmp_path / "odd.py"
    file.write_text(app_file.read_text() + ODD)
    return file


@pytest.fixture
def timer_url(start_redis):
    """A Redis that is fit for production."""
    return start_redis(options={"appendonly": "yes", "maxmemory-policy": "noeviction"}).url


@pytest.fixture
def doctor(quick):
    """The command's answer in JSON, and its status."""

    def doctor(*arguments):
        shown = quick("doctor", "--json", *arguments)
        return json.loads(shown.output), shown.exit_code

    return doctor


@pytest.fixture
def found(doctor):
    """The names of what it finds."""
    return lambda: {row["name"] for row in doctor()[0]["findings"]}


def test_workers_without_fault_have_no_finding_and_are_live(
    proj, start_worker, doctor, quick, command, wait_until_empty
):
    name = start_worker(pool="threads", name="one").hostname()
    proj.note.post_in(0, 1).get(timeout=10)
    wait_until_empty()
    told, status = doctor()
    assert (told["findings"], told["not_checked"], status) == ([], [], 0)
    assert told["workers"] == [name]
    assert "0 findings; 1 worker answered" in quick("doctor").output
    told, status = doctor("--live", "-d", name)
    assert (told["live"], told["workers"], told["stuck"], told["silent"], status) == (True, [name], [], [], 0)
    shown = command("doctor", "--live", "-d", name, "--timeout", "20")
    assert (shown.returncode, shown.stdout.strip()) == (0, "live")
    assert doctor("--live", "-d", "nobody@here")[1] == 2


@pytest.mark.slow
def test_what_differs_between_workers_and_what_a_dead_one_leaves_is_found(proj, start_worker, found, timer):
    start_worker(pool="threads", name="one")
    odd = start_worker(pool="threads", name="odd", queues="lonely", env={"ODD": "1", "CONFIRM_TIMEOUT": "3"})
    wait_until(lambda: found() == {"settings-differ", "versions-differ", "clock-offset"}, "what differs")
    # Nobody consumes its queue.
    proj.note.post((1,), eta=PAST, queue="nowhere", task_id="nobody's")
    assert "nobody-listens" in found()
    proj.nap.post((60,), delay=0, queue="lonely", task_id="held")
    wait_until(lambda: timer.count().leased, "the lease")
    odd.pause()
    wait_until(lambda: "lease-near-lapse" in found(), "a lease that is near its lapse")
    # It does not answer, but is still connected.
    assert "holder-gone" not in found()
    odd.resume()
    odd.kill()
    assert wait_until(lambda: "holder-gone" in (names := found()) and names, "a lease without a holder") >= {
        "nobody-listens"
    }
    assert timer.cancel("nobody's")


@pytest.mark.slow
def test_a_solo_worker_amid_a_task_is_live_and_its_lease_is_not_abandoned(
    proj, start_worker, doctor, found, wait_for_records, timer
):
    worker = start_worker(pool="solo", name="one", env={"CONFIRM_TIMEOUT": "3"})
    name = worker.hostname()
    result = proj.nap.post_in(0, 8)
    wait_for_records(1)
    told, status = doctor("--live", "-d", name)
    assert (told["silent"], told["stuck"], status) == ([name], [], 0)
    assert found() == set()
    assert doctor()[0]["workers"] == []
    assert timer.peek(result.id).holder == name
    assert result.get(timeout=20) == 8


@pytest.mark.slow
@pytest.mark.parametrize("how", ["frozen", "the interpreter's lock is kept"])
def test_a_listener_without_rounds_is_stuck(proj, start_worker, doctor, wait_for_records, how):
    worker = start_worker(pool="threads", name="one")
    name = worker.hostname()
    probe = ("--live", "-d", name, "--stuck-after", "6", "--timeout", "1")
    assert doctor(*probe)[1] == 0
    if how == "frozen":
        worker.pause()
    else:
        proj.starve.post_in(0, 15)
        wait_for_records(1)
    told, status = wait_until(lambda: (seen := doctor(*probe))[1] and seen, "a stuck listener", timeout=30)
    assert (told["stuck"], status) == ([name], 1)
    worker.resume()
    wait_until(lambda: doctor(*probe)[1] == 0, "it to be live again", timeout=30)


@pytest.mark.slow
def test_a_lease_that_nobody_takes_over_is_found(proj, start_worker, found, timer):
    worker = start_worker(pool="threads", name="one", env={"CONFIRM_TIMEOUT": "1"})
    result = proj.nap.post_in(0, 15)
    wait_until(lambda: timer.count().leased, "the lease")
    worker.pause()
    wait_until(lambda: "lease-lapsed" in found(), "a lapsed lease", timeout=20)
    worker.resume()
    assert result.get(timeout=40) == 15


# --- what answers


@pytest.fixture
def answering(make_app, redis_server, redis_url):
    """An app, and a function that lets workers answer it: {name: (seconds until it answers, its answer)}.

    The broker is a real one; the workers are kombu's mailboxes, as many and as late as a test wants.
    """
    app = make_app(main="shop", broker=redis_server.url_of(1), dtimer_url=redis_url)
    threads, stop = [], threading.Event()

    def work(name, seconds, answer, ready):
        with Celery("worker", broker=app.conf.broker_url, set_as_current=False).connection_for_read() as connection:
            node = Mailbox("celery", type="fanout", accept=["json"], serializer="json").Node(
                name, channel=connection.default_channel
            )

            def dtimer(_state, **_options):
                stop.wait(seconds)
                return answer

            node.handlers["dtimer"] = dtimer
            with node.listen():
                ready.set()
                while not stop.is_set():
                    try:
                        connection.drain_events(timeout=0.1)
                    except TimeoutError:
                        continue

    def answering(answers):
        waits = []
        for name, (seconds, answer) in answers.items():
            waits.append(threading.Event())
            threads.append(threading.Thread(target=work, args=(name, seconds, answer, waits[-1]), daemon=True))
            threads[-1].start()
        assert all(ready.wait(20) for ready in waits)
        return app

    yield answering
    stop.set()
    for thread in threads:
        thread.join(10)


def report(**more):
    return {"app": "shop", "namespace": "dt", "queues": ["q"], **more}


def test_fifty_workers_are_all_heard(answering):
    app = answering({f"w{number}@h": (0, report(queues=[f"q{number}"])) for number in range(50)})
    assert len(timers_of_workers(app)) == 50
    assert fired_queues(app) == {f"q{number}" for number in range(50)}


def test_a_late_answer_costs_no_earlier_one(answering):
    app = answering({"prompt@h": (0, report()), "late@h": (1.5, report()), "never@h": (30, report())})
    # Each answer is waited for anew, until patience ends.
    assert set(timers_of_workers(app, timeout=4.0, patience=2.5)) == {"prompt@h", "late@h"}
    assert set(timers_of_workers(app, ["prompt@h"], timeout=20.0, patience=20.0)) == {"prompt@h"}


@pytest.mark.slow
def test_the_expected_answers_are_enough_and_others_are_heard_that_come_with_them(answering):
    app = answering({"new@h": (0, report()), "old@h": (0, report()), "never@h": (60, report())})
    start = time.monotonic()
    assert set(timers_of_workers(app, timeout=30, patience=30, expected={"new@h"})) == {"new@h", "old@h"}
    assert time.monotonic() - start < 20


def test_workers_of_another_app_are_left_out(answering):
    app = answering(
        {
            "ours@h": (0, report()),
            "older@h": (0, {"namespace": "dt", "queues": ["old"]}),
            "moved@h": (0, report(namespace="other", queues=["lost"])),
            "theirs@h": (0, report(app="bank", namespace="bank")),
            "sharing@h": (0, report(app="bank", queues=["shared"])),
            "plain@h": (0, {"error": "no such control command"}),
            "odd@h": (0, ["what", "ever"]),
        }
    )
    assert set(timers_of_workers(app)) == {"ours@h", "older@h", "moved@h", "sharing@h"}
    # One that looks elsewhere for events fires none of ours.
    assert fired_queues(app) == {"q", "old", "shared"}
