"""jitter= and spread= keep posts apart that would be due at once."""

from datetime import UTC, datetime, timedelta

import pytest

from celery_dtimer import InvalidDelayError, InvalidEventError, TaskPost, dtimer_task

INSTANT = datetime(2100, 1, 1, tzinfo=UTC)


def after(result, instant=INSTANT):
    return (result.peek().due_at - instant).total_seconds()


@pytest.mark.parametrize("jitter", [100, timedelta(seconds=100)])
def test_jitter_adds_a_random_delay_of_at_most_that(add, jitter):
    delays = [after(result) for result in add.post_many([(n,) for n in range(200)], eta=INSTANT, jitter=jitter)]
    assert min(delays) >= 0
    assert max(delays) <= 100
    assert len(set(delays)) > 190
    assert 30 < sum(delays) / 200 < 70  # seven standard deviations
    assert any(delay % 1 for delay in delays)


def test_a_task_may_have_a_jitter_and_a_call_none(app):
    @dtimer_task(name="task", jitter=1000)
    def task():
        pass

    assert len({after(task.post(eta=INSTANT)) for _ in range(10)}) > 1
    assert {after(task.post(eta=INSTANT, jitter=jitter)) for jitter in (None, 0)} == {0}
    assert task.post_in(60).peek() is not None


def test_spread_spaces_posts_evenly_from_their_time_on(add):
    results = add.post_many([(n,) for n in range(4)], eta=INSTANT, spread=20)
    assert [after(result) for result in results] == [0, 5, 10, 15]
    results = add.post_many([(1,), TaskPost((2,), eta="2100-01-02")], eta=INSTANT, spread=timedelta(seconds=3))
    assert [after(result) for result in results] == [0, 86_401.5]
    assert add.post_many([], delay=1, spread=20) == []


@pytest.mark.parametrize("span", [-1, "soon", float("nan"), [], timedelta(seconds=-1)])
def test_what_is_no_span_is_refused(add, keyspace, span):
    before = keyspace()
    with pytest.raises(InvalidDelayError, match="jitter must be"):
        add.post((1,), delay=60, jitter=span)
    with pytest.raises(InvalidDelayError, match="spread must be"):
        add.post_many([(1,)], delay=60, spread=span)
    with pytest.raises(InvalidDelayError, match="jitter must be"):
        dtimer_task(jitter=span)(print)
    assert keyspace() == before


def test_spread_is_of_many_posts(add):
    with pytest.raises(InvalidEventError, match=r"takes no spread: it is an option of post_many\(\)"):
        add.post((1,), delay=60, spread=20)
    with pytest.raises(InvalidEventError, match="takes no spread"):
        add.post_many([TaskPost((1,), options={"spread": 20})], delay=60)


def test_a_time_at_the_end_of_time_stays_there(add):
    (result,) = add.post_many([(1,)], eta="9999-12-31T23:59:59.999+00:00", jitter=1000)
    assert result.peek().due_at.year == 9999
