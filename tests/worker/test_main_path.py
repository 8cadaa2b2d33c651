"""From a post to a confirmed run, in every pool that this suite knows, over brokers with and without a hub."""

import time

import pytest
from rig.core import CoreSuite, MainPath
from rig.pools import pools

from celery_dtimer import State


@pytest.fixture(params=pools("prefork"))
def pool(request):
    return request.param


class TestWithoutAServer(MainPath):
    """The brokers without a hub."""

    @pytest.fixture(params=pools("threads"))
    def pool(self, request):
        return request.param

    @pytest.fixture(params=["filesystem", "memory"])
    def broker_transport(self, request):
        return request.param


class TestOnRedis(CoreSuite):
    """What does not depend on the broker is shown over one of them."""

    @pytest.fixture(params=["redis"])
    def broker_transport(self, request):
        return request.param

    def test_a_fired_task_can_no_longer_be_cancelled_or_moved(
        self, proj, start_worker, pool, wait_for_records, wait_until_empty
    ):
        start_worker(pool=pool)
        result = proj.nap.post_in(0, 1.0)
        wait_for_records(1)
        assert result.cancel().state is State.LEASED
        assert not result.change_delay(60)
        assert result.get(timeout=15) == 1.0
        wait_until_empty()

    def test_no_more_is_in_flight_than_max_events_allows(self, proj, start_worker, pool, timer, wait_for_records):
        for _ in range(12):
            proj.nap.post_in(0, 0.2)
        start_worker(pool=pool, concurrency=8, env={"MAX_EVENTS": "3"})
        most = 0
        end = time.monotonic() + 30
        while timer.count().pending or timer.count().leased:
            most = max(most, timer.count().leased)
            assert time.monotonic() < end
        assert 1 <= most <= 3
        assert len(wait_for_records(12, "end")) == 12

    def test_a_flood_of_tasks_all_run_once(self, proj, start_worker, pool, wait_for_records, wait_until_empty):
        results = [proj.note.post_in(0.0, n) for n in range(500)]
        start_worker(pool=pool)
        rows = wait_for_records(500, timeout=30)
        wait_until_empty()
        assert sorted(row["id"] for row in rows) == sorted(result.id for result in results)
