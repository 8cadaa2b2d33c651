"""Time passes when a test says so, and what comes due runs, each at its own instant."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from celery.exceptions import NotRegistered

from celery_dtimer import State, get_timer

DAY = 86_400.0


def test_a_task_runs_when_its_time_has_come_and_not_before(dtimer, note, ran):
    result = note.post_in(timedelta(days=30), "a")
    assert dtimer.advance(timedelta(days=30) - timedelta(milliseconds=1)) == []
    assert result.state == "PENDING"
    fired = dtimer.advance(0.001)
    assert [(one.task, one.args, one.at, one.id) for one in fired] == [("note", ("a",), dtimer.now, result.id)]
    assert ran == [("a", 30 * DAY)]
    assert result.get(timeout=1) == "a"
    assert result.peek() is None


def test_a_month_of_reminders(app, dtimer, note, ran):
    @app.task(name="remind")
    def remind(order):
        note.post_in(timedelta(days=7), f"escalate {order}")
        ran.append(f"remind {order}")

    paid, open_ = remind.post_in(timedelta(days=30), "1"), remind.post_in(timedelta(days=30), "2")
    dtimer.assert_posted("remind", args=("2",), in_=timedelta(days=30), within=0)
    assert paid.cancel()
    dtimer.assert_not_posted(remind, args=["1"])
    dtimer.advance(days=30)
    assert ran == ["remind 2"]
    dtimer.assert_posted(note, args=["escalate 2"], in_=timedelta(days=7), within=0)
    dtimer.advance(weeks=1)
    assert ran == ["remind 2", ("escalate 2", 37 * DAY)]
    assert open_.successful()
    assert dtimer.pending() == []


def test_an_awaited_post_goes_by_the_same_time(dtimer, note, ran):
    async def main():
        kept, moved, cancelled = [await note.apost_in(timedelta(days=1), what) for what in "abc"]
        assert (await kept.apeek()).due_at == dtimer.now + timedelta(days=1)
        assert await moved.achange_delay(timedelta(days=2))
        assert await cancelled.acancel()

    asyncio.run(main())
    dtimer.advance(days=3)
    assert ran == [("a", DAY), ("b", 2 * DAY)]


def test_tasks_run_in_the_order_of_their_instants(dtimer, note, ran):
    for delay in (30, 10, 20):
        note.post_in(delay, delay)
    dtimer.advance(minutes=1)
    assert ran == [(10, 10.0), (20, 20.0), (30, 30.0)]


def test_tasks_of_one_instant_run_in_the_order_of_their_posts(dtimer, note, ran):
    for number in range(20):
        note.post_in(60, number)
    assert [task.args for task in dtimer.pending()] == [(number,) for number in range(20)]
    dtimer.advance(60)
    assert ran == [(number, 60.0) for number in range(20)]


def test_a_task_may_cancel_another_of_its_instant(app, dtimer, note, ran):
    others = []

    @app.task(name="cancel")
    def cancel():
        ran.append(bool(others[0].cancel()))

    cancel.post_in(60)
    others.append(note.post_in(60, "late"))
    note.post_in(60, "kept")
    dtimer.advance(60)
    assert ran == [True, ("kept", 60.0)]


def test_what_a_task_posts_runs_in_its_turn(app, dtimer, note, ran):
    @app.task(name="each_day")
    def each_day(left):
        note.post_in(0, left)
        if left:
            each_day.post_in(DAY, left - 1)

    each_day.post_in(DAY, 2)
    dtimer.advance(days=30)
    assert ran == [(2, DAY), (1, 2 * DAY), (0, 3 * DAY)]
    assert dtimer.advance(days=30) == []


def test_a_retry_waits_for_its_countdown(app, dtimer):
    @app.task(name="flaky", bind=True, max_retries=3)
    def flaky(self):
        if self.request.retries < 2:
            raise self.retry(countdown=3600)
        return self.request.dtimer.tags

    began, result = dtimer.now, flaky.post(delay=60, tags=["a"])
    fired = dtimer.advance(hours=1)
    assert [one.retries for one in fired] == [0]
    assert result.state == "RETRY"
    fired = dtimer.advance(days=1)
    assert [(one.retries, one.at - began) for one in fired] == [
        (1, timedelta(seconds=3660)),
        (2, timedelta(seconds=7260)),
    ]
    assert result.get(timeout=1) == ["a"]


def test_a_countdown_that_is_taken_over_waits_too(app, dtimer, note, ran):
    app.conf.dtimer_takeover = 60

    @app.task(name="start")
    def start():
        note.apply_async(("later",), countdown=3600)

    start.post_in(60)
    dtimer.advance(60)
    dtimer.assert_posted(note, in_=3600, within=0)
    dtimer.advance(to=dtimer.pending()[-1].due_at)
    assert ran == [("later", 3660.0)]


def test_a_task_sees_its_delivery_as_in_a_worker(app, dtimer):
    seen = []

    @app.task(name="look", bind=True, acks_late=True)
    def look(self):
        request = self.request
        seen.append((request.dtimer, request.is_eager, request.called_directly, request.eta))
        assert get_timer(app).peek(request.id).state is State.LEASED

    result = look.post(delay=60, tags=["a"], max_redeliveries=5)
    dtimer.advance(60)
    (info, is_eager, called_directly, eta) = seen[0]
    assert (info.due_at, info.lateness, info.redeliveries, info.max_redeliveries) == (dtimer.now, 0.0, 0, 5)
    assert (info.tags, info.queue, is_eager, called_directly) == (("a",), app.conf.task_default_queue, False, False)
    assert datetime.fromisoformat(eta) == dtimer.now
    assert result.successful()


def test_all_that_asks_the_timer_sees_the_tests_time(app, dtimer, note):
    result = note.post_in(100, "a")
    dtimer.advance(40)
    timer = get_timer(app)
    assert result.peek().due_at == dtimer.now + timedelta(seconds=60)
    assert [task.id for task in timer.upcoming(offset=59, duration=2)] == [result.id]
    assert timer.count(duration=59).pending == 0
    assert result.change_delay(10).due_at == dtimer.now + timedelta(seconds=10)
    assert len(dtimer.advance(10)) == 1


def test_a_debounce_is_bounded_by_the_tests_time(dtimer, note, ran):
    for _ in range(5):
        note.post(("x",), task_id="rebuild", delay=30, on_conflict="postpone", max_wait=60)
        dtimer.advance(20)
    assert ran == [("x", 60.0)]


def test_an_instant_is_an_instant(dtimer, note, ran):
    eta = datetime(2099, 12, 31, 23, tzinfo=UTC)
    note.post_at(eta, "a")
    dtimer.assert_posted(note, at=eta, within=0)
    assert dtimer.advance(to=eta)[0].at == eta
    assert dtimer.now == eta


def test_a_task_expires_by_the_tests_time(dtimer, note, ran):
    expired = note.post(("a",), delay=100, expires=60)
    dtimer.advance(days=1)
    late = note.post(("b",), delay=100, expires=200)
    dtimer.advance(days=1)
    assert ran == [("b", DAY + 100)]
    assert (expired.state, late.state) == ("REVOKED", "SUCCESS")


def test_fire_runs_one_task_before_its_time(dtimer, note, ran):
    note.post_in(0, "due")
    soon, later = note.post_in(60, "soon"), note.post_in(600, "later")
    assert dtimer.fire(later).args == ("later",)
    assert dtimer.fire(dtimer.pending(note, args=("soon",))[0]).id == soon.id
    assert ran == [("later", 0.0), ("soon", 0.0)]
    with pytest.raises(LookupError, match=rf"{later.id} waits, it is unknown\. Pending at .*\n  note\('due'\) in 0:00"):
        dtimer.fire(later.id)


def test_what_is_held_waits(app, dtimer, note, ran):
    get_timer(app).hold(task="note")
    result = note.post_in(60, "a")
    note.post_in(60, "b")
    assert dtimer.advance(days=1) == []
    with pytest.raises(LookupError, match="is held"):
        dtimer.fire(result)
    get_timer(app).resume(task="note")
    dtimer.advance(0)
    assert sorted(ran) == [("a", DAY), ("b", DAY)]


def test_a_task_that_the_app_does_not_have_is_named(app, dtimer):
    @app.task(name="gone")
    def gone(): ...

    gone.post_in(60)
    app.finalize()
    del app._tasks["gone"]
    with pytest.raises(NotRegistered, match="gone: the app has no such task"):
        dtimer.advance(60)
    dtimer.assert_posted("gone")


def test_a_task_that_posts_itself_for_ever_at_one_instant_ends_the_test(app, dtimer, monkeypatch):
    monkeypatch.setattr("celery_dtimer.testing.timer.MOST_AT_ONCE", 10)

    @app.task(name="spin")
    def spin():
        spin.post_in(0)

    spin.post_in(60)
    with pytest.raises(RuntimeError, match=r"10 tasks ran at one instant.*\n  spin\(\) in 0:00:00"):
        dtimer.advance(60)


@pytest.mark.parametrize(
    ("by", "options", "error"),
    [
        (None, {}, r"one of a span and to=, got \[\]"),
        (60, {"days": 1}, "one of a span and to="),
        ("1", {}, "needs seconds or a timedelta, got '1'"),
        (-1, {}, "time must pass, and not go back, got -1 at"),
        (None, {"to": datetime(2000, 1, 1, tzinfo=UTC)}, "time must pass"),
        (None, {"to": datetime(2100, 1, 1)}, "to must be an aware datetime"),  # noqa: DTZ001 - a naive one is refused
    ],
)
def test_time_only_passes(dtimer, by, options, error):
    with pytest.raises(ValueError, match=error):
        dtimer.advance(by, **options)
