"""A timer of many shards answers as one of a single shard does, whatever was posted, moved and cancelled before."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celery_dtimer import DTimer, EventExistsError
from celery_dtimer.timer.times import ms_to_datetime

# Few instants and queues, so that many are tied; long past or far ahead, so that no answer changes meanwhile.
INSTANTS = [ms_to_datetime(ms) for ms in (1_000_000_000_000, 4_000_000_000_000, 4_000_000_000_001, 4_000_000_100_000)]
ids = st.integers(0, 30).map(str)
queues = st.sampled_from(["a", "B", "ä", "b"])
instants = st.sampled_from(INSTANTS)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("post"), ids, queues, instants, st.sampled_from(["error", "keep", "replace", "postpone"])),
        st.tuples(st.just("cancel"), ids),
        st.tuples(st.just("change"), ids, instants),
        st.tuples(st.just("peek"), ids),
    ),
    max_size=60,
)
# Seconds from now, which is between the first of the instants and the second.
bounds = st.fixed_dictionaries(
    {},
    optional={
        "offset": st.sampled_from([0, 1, 10**9 * 3]),
        "duration": st.sampled_from([0, 1, 10**9 * 3]),
    },
)
pages = st.lists(st.tuples(bounds, st.integers(1, 40), st.integers(0, 40)), min_size=1, max_size=8)


def do(timer, name, event_id, *rest):
    """What an operation answered."""
    if name == "post":
        queue, eta, conflict = rest
        try:
            return timer.post(f"{queue} {eta}", eta=eta, id=event_id, queue=queue, on_conflict=conflict)
        except EventExistsError as exc:
            return exc.due_ms
    if name == "change":
        return timer.change_eta(event_id, *rest)
    return getattr(timer, name)(event_id)


@pytest.fixture(params=[None, 7], ids=["as it is", "what is left out is searched for"])
def both(request, monkeypatch, redis_url, expected_keys):
    if request.param is not None:
        monkeypatch.setattr("celery_dtimer.timer.storing.namespace.READ_THROUGH", request.param)
    with DTimer(redis_url, shards=5) as many, DTimer(redis_url, namespace="single", shards=1) as one:
        yield many, one


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=operations, pages=pages)
def test_many_shards_answer_as_one(both, operations, pages):
    many, one = both
    for operation in operations:
        assert do(many, *operation) == do(one, *operation), operation
    for bound, limit, skip in pages:
        asked = {**bound, "limit": limit, "skip": skip}
        assert many.upcoming(**asked, payloads=True) == one.upcoming(**asked, payloads=True), asked
        assert many.count(**bound) == one.count(**bound), bound
    for timer in both:
        for row in timer.upcoming(limit=100):
            assert timer.cancel(row.id)
        assert timer.upcoming() == []
