"""Every shape of a call with a countdown or an eta, natively and under takeover: the same results and records."""

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from celery import chain, chord, group
from celery.result import AsyncResult, GroupResult
from rig.waiting import wait_until

from celery_dtimer import SettingsError, TimerResult, get_timer, install

SOON = 0.3


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "canvas.py"


def eta(zone=UTC):
    return datetime.now(zone) + timedelta(seconds=SOON)


#: name -> what is called; each returns a result, or the key of a mark to wait for.
SHAPES = {
    "apply_async with a countdown": lambda p: p.add.apply_async((1, 2), countdown=SOON),
    "apply_async with an aware eta": lambda p: p.add.apply_async((1, 3), eta=eta()),
    "apply_async with a naive eta": lambda p: p.add.apply_async((1, 4), eta=eta().replace(tzinfo=None)),
    "apply_async with an eta in another zone": lambda p: p.add.apply_async(
        (1, 5), eta=eta(__import__("zoneinfo").ZoneInfo("America/New_York"))
    ),
    "apply_async with keyword arguments": lambda p: p.add.apply_async(kwargs={"x": 1, "y": 6}, countdown=SOON),
    "apply_async with expires": lambda p: p.about.apply_async(countdown=SOON, expires=60),
    "apply_async that expires first": lambda p: p.add.apply_async((1, 7), countdown=SOON, expires=SOON / 3),
    "apply_async with options": lambda p: p.about.apply_async(
        countdown=SOON, priority=3, headers={"mine": "x"}, time_limit=60, soft_time_limit=50, shadow="other"
    ),
    "apply_async with a task_id": lambda p: p.add.apply_async((1, 8), countdown=SOON, task_id=f"given-{time.time()}"),
    "apply_async with compression and yaml-free serializer": lambda p: p.add.apply_async(
        (1, 9), countdown=SOON, compression="zlib", serializer="json"
    ),
    "apply_async with ignore_result": lambda p: _marked(p.silent, "silent", countdown=SOON),
    "a stamped call": lambda p: p.about.apply_async(countdown=SOON, stamped_headers=["shop"], shop="seven"),
    "send_task with a countdown": lambda p: p.app.send_task("proj.add", (2, 1), countdown=SOON),
    "send_task with an eta": lambda p: p.app.send_task("proj.add", (2, 2), eta=eta()),
    "send_task by position": lambda p: p.app.send_task("proj.add", (2, 3), {}, SOON),
    "a signature's apply_async": lambda p: p.add.s(2, 4).apply_async(countdown=SOON),
    "a signature that was set": lambda p: p.add.s(2, 5).set(countdown=SOON).delay(),
    "a partial signature": lambda p: p.add.s(2).set(countdown=SOON).apply_async((6,)),
    "an immutable signature": lambda p: p.add.si(2, 7).apply_async(countdown=SOON),
    "a chain": lambda p: chain(p.add.s(3, 1), p.double.s()).apply_async(countdown=SOON),
    "a chain whose second waits": lambda p: chain(p.add.s(3, 2), p.double.s().set(countdown=SOON)).apply_async(),
    "a chain whose members all wait": lambda p: chain(
        p.add.s(3, 3).set(countdown=SOON), p.double.s().set(countdown=SOON), p.double.s().set(countdown=SOON)
    )(),
    "a chain that begins with a group": lambda p: chain(
        group(p.add.s(i, i) for i in range(3)), p.total.s()
    ).apply_async(countdown=SOON),
    "a group": lambda p: group(p.add.s(i, 1) for i in range(4)).apply_async(countdown=SOON),
    "a group whose members wait": lambda p: group(p.add.s(i, 2).set(countdown=SOON) for i in range(4))(),
    "a skewed group": lambda p: group(p.add.s(i, 3) for i in range(3)).skew(start=SOON, stop=2 * SOON, step=0.1)(),
    "a group in a group": lambda p: group(p.add.s(0, 1), group(p.double.s(1).set(countdown=SOON), p.double.s(2)))(),
    "a chord whose header waits": lambda p: chord((p.add.s(i, i).set(countdown=SOON) for i in range(4)), p.total.s())(),
    "a chord whose body waits": lambda p: chord((p.add.s(i, i) for i in range(4)), p.total.s().set(countdown=SOON))(),
    "a chord with a countdown": lambda p: chord((p.add.s(i, i) for i in range(4)), p.total.s()).apply_async(
        countdown=SOON
    ),
    "a chord of chains": lambda p: chord(
        (chain(p.add.s(i, i).set(countdown=SOON), p.double.s().set(countdown=SOON)) for i in range(3)), p.total.s()
    )(),
    "a chord in a chain": lambda p: chain(
        p.double.s(1),
        chord((p.add.s(1).set(countdown=SOON), p.add.s(2)), p.total.s()),
        p.double.s().set(countdown=SOON),
    )(),
    "a chord with a failing header": lambda p: chord(
        (p.add.s(1, 1), p.fail.s().set(countdown=SOON)), p.total.s().on_error(p.remember_failure.s(key="chord"))
    )(),
    "a chord with a member that is replaced": lambda p: chord((p.expanded.s(i) for i in range(3)), p.total.s())(),
    "link": lambda p: p.add.apply_async((4, 1), link=p.double.s().set(countdown=SOON)),
    "link_error": lambda p: _marked(
        p.fail, "failure", countdown=SOON, link_error=p.remember_failure.s(key="failure").set(countdown=SOON), args=()
    ),
    "retry by countdown": lambda p: p.retry_by_countdown.delay(3),
    "retry by eta": lambda p: p.retry_by_eta.delay(2),
    "retry of a call with a countdown": lambda p: p.retry_by_countdown.apply_async((3,), countdown=SOON),
    "autoretry": lambda p: p.autoretry.delay(3),
    "retry in vain": lambda p: p.retry_in_vain.apply_async(countdown=SOON),
    "replace": lambda p: p.replaced.apply_async((5,), countdown=SOON),
    "replace in a chain": lambda p: chain(p.add.s(5, 1), p.replaced.s(), p.double.s())(),
    "a task that calls others": lambda p: p.parent.apply_async((6,), countdown=SOON),
    "starmap": lambda p: p.add.starmap([(1, 2), (3, 4)]).apply_async(countdown=SOON),
    "map": lambda p: p.double.map([1, 2, 3]).apply_async(countdown=SOON),
    "chunks": lambda p: p.add.chunks([(i, i) for i in range(6)], 2).apply_async(countdown=SOON),
    "chunks as a group": lambda p: p.add.chunks([(i, i) for i in range(6)], 2).group().apply_async(countdown=SOON),
}


def _marked(task, key, args=None, **options):
    task.apply_async((key,) if args is None else args, **options)
    return key


def settled(proj, called):
    """What came of a call: the results, and the backend's records of it and of all that it led to, without times."""
    if isinstance(called, str):
        client = proj.app.backend.client
        wait_until(lambda: client.llen(f"mark:{called}"), f"the mark {called}", 20)
        marks = client.lrange(f"mark:{called}", 0, -1)
        client.delete(f"mark:{called}")
        return marks
    if isinstance(called, GroupResult):
        return [settled(proj, member) for member in called.results]
    wait_until(called.ready, "the result", 20)
    return record(called)


def without_ids(value):
    """The same, with all ids alike, wherever they are: in errors, in arguments."""
    if isinstance(value, dict):
        return {key: without_ids(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_ids(item) for item in value]
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", value if isinstance(value, str) else repr(value))


def record(result: AsyncResult):
    meta = dict(result._get_task_meta())
    children = meta.pop("children", None) or []
    parent_id = meta.pop("parent_id", None)
    meta = without_ids(meta)
    meta["has_parent"] = parent_id is not None
    for name in ("date_done", "task_id", "worker", "group_id", "traceback"):
        meta.pop(name, None)
    for child in children:
        wait_until(child.ready, "a child's result", 20)
    meta["children"] = sorted(
        repr([record(c) for c in getattr(child, "results", None) or [child]]) for child in children
    )
    if result.parent is not None and not isinstance(result.parent, GroupResult):
        meta["before"] = record(result.parent)
    return meta


def outcomes(proj):
    called = {name: shape(proj) for name, shape in SHAPES.items()}
    return {name: settled(proj, result) for name, result in called.items()}


@pytest.mark.timeout(180)
def test_every_shape_of_a_call_has_the_same_results_and_records_as_natively(
    proj, start_worker, redis_client, wait_until_empty
):
    assert len(SHAPES) >= 25
    worker = start_worker(concurrency=2, name="native")
    natively = outcomes(proj)
    # That is there as long as a worker listens.
    assert set(redis_client.keys("{dt:tasks:0}:*")) <= {b"{dt:tasks:0}:polls", b"{dt:tasks:0}:layout"}
    worker.term()
    worker.wait()

    install(proj.app, takeover=0)
    start_worker(concurrency=2, name="takeover", env={"TAKEOVER": "0"})
    taken_over = outcomes(proj)
    wait_until_empty()
    differing = {name: (natively[name], taken_over[name]) for name in SHAPES if natively[name] != taken_over[name]}
    assert not differing, "\n".join(f"{name}:\n  native {a}\n  taken  {b}" for name, (a, b) in differing.items())


def test_a_countdown_below_the_threshold_goes_to_the_broker_unchanged(proj, redis_client):
    install(proj.app, takeover=60)
    result = proj.add.apply_async((1, 2), countdown=59)
    assert result.peek() is None
    assert proj.app.send_task("proj.add", (1, 2), eta=datetime.now(UTC) + timedelta(seconds=30)).id
    assert proj.add.apply_async((1, 2), countdown=0).id
    assert proj.add.apply_async((1, 2), countdown=-5).id
    assert set(redis_client.keys("{dt:tasks:0}:*")) <= {b"{dt:tasks:0}:layout"}
    with proj.app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        sent = queue.get(timeout=5)
        assert sent.headers["id"] == result.id
        assert sent.headers["eta"] is not None
        queue.close()


def test_a_countdown_at_the_threshold_goes_to_the_timer_and_keeps_its_id(proj):
    install(proj.app, takeover=60)
    result = proj.add.apply_async((1, 2), countdown=60, task_id="mine")
    assert isinstance(result, TimerResult)
    assert result.id == "mine"
    timer = get_timer(proj.app)
    assert [event.id for event in timer.upcoming()] == ["mine"]
    # As a retry would: the same id once more.
    again = proj.add.apply_async((1, 2), countdown=120, task_id="mine")
    assert timer.count().pending == 1
    assert again.cancel()


def test_without_a_takeover_a_plain_countdown_does_not_ask_for_the_timers_settings(proj, redis_client):
    # No URL would be had from this broker either; the worker says so when it starts, and a post when it is made.
    install(proj.app, url="nonsense://")
    assert proj.add.apply_async((1, 2), countdown=60).id
    assert redis_client.keys("{dt:0}:*") == []
    install(proj.app, takeover=10)
    with pytest.raises(SettingsError, match="dtimer_url"):
        proj.add.apply_async((1, 2), countdown=60)
