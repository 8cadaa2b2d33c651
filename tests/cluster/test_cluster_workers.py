"""Workers of Celery whose timer is in a cluster, one shard on each of its masters; the broker is a plain server."""

import contextlib
import random
from collections import Counter

import pytest
from members import Call, is_empty
from rig.brokers import BrokerPlace
from rig.core import CoreSuite, MainPath
from rig.pools import POOLS
from rig.waiting import wait_until

from celery_dtimer import NotReplicatedError

POLICY = {"max_retries": 100, "interval_start": 0.1, "interval_step": 0, "interval_max": 0.1}


class OnCluster:
    @pytest.fixture
    def broker_transport(self):
        return "redis"

    @pytest.fixture
    def timer_url(self, calm):
        return calm.url


class TestCore(OnCluster, CoreSuite):
    @pytest.fixture
    def pool(self):
        return "prefork"


class TestEveryPool(OnCluster, MainPath):
    @pytest.fixture(params=POOLS)
    def pool(self, request):
        return request.param

    def test_a_flood_of_tasks_all_run_once(self, proj, start_worker, pool, wait_for_records, wait_until_empty):
        results = [proj.note.post_in(0.0, n) for n in range(300)]
        start_worker(pool=pool)
        rows = wait_for_records(300, timeout=30)
        wait_until_empty()
        assert sorted(row["id"] for row in rows) == sorted(result.id for result in results)

    def test_the_tasks_of_one_shard_after_the_other_run_soon(self, proj, start_worker, pool, timer, wait_until_empty):
        start_worker(pool=pool)
        shards = set()
        while len(shards) < 3:
            result = proj.note.post_in(0.2, len(shards))
            assert result.get(timeout=15)
            shards.add(timer.shards.of(result.id).keys.shard)
        wait_until_empty()


class TestFailover:
    @pytest.fixture
    def timer_url(self, fleet):
        return fleet.url

    @pytest.mark.parametrize("pool", ["prefork", "threads"])
    def test_a_worker_runs_what_was_posted_before_and_amid_the_failover_of_a_shard(
        self, fleet, pool, proj, start_worker, wait_for_records, timer
    ):
        worker = start_worker(pool=pool, env={"CONFIRM_TIMEOUT": "2"})
        ids = [proj.shared.post_in(i / 10, i).id for i in range(60)]
        fleet.wait_for_replicas()
        wait_for_records(10)
        old = fleet.master_of("{dt:tasks:1}:events")
        old.kill()
        # It goes on trying, and is no conflict with itself.
        ids += [proj.shared.post((i,), delay=0.5, retry_policy=POLICY).id for i in range(12)]
        fleet.wait_for_failover("{dt:tasks:1}:events", old)
        wait_until(lambda: set(ids) <= {row["id"] for row in proj.records()}, "all tasks", 30)
        wait_until(lambda: is_empty(timer), "the last confirm", 30)
        rows = proj.records()
        assert min(row["at"] - row["due"] for row in rows) >= 0
        assert worker.running
        assert worker.logs().count("the timer's Redis failed") <= 1


class TestChaos:
    """Workers and masters are killed in turn, while tasks are posted that wait for a replica."""

    KILLS = 5
    LONGEST_DELAY = 10.0  # seconds
    CONCURRENCY = 2

    @pytest.fixture
    def timer_url(self, fleet):
        return fleet.url

    @pytest.fixture
    def broker_place(self, broker_place):
        settings = {"dtimer_shards": 5, "dtimer_wait_replicas": 1, "dtimer_wait_timeout": 4}
        return BrokerPlace(broker_place.url, settings=settings)

    @pytest.mark.timeout(300)
    def test_every_task_whose_post_returned_runs_and_none_before_it_is_due(
        self, fleet, proj, start_worker, wait_until_empty
    ):
        workers = [start_worker(concurrency=self.CONCURRENCY, name=n, env={"CONFIRM_TIMEOUT": "10"}) for n in "ab"]
        chance = random.Random(0)

        def kill():
            for number in range(self.KILLS):
                workers[number % 2].kill()
                workers[number % 2].restart()
                fleet.fail_over(f"{{dt:tasks:{number % 5}}}:events")
                fleet.heal()

        posted = []
        killing = Call(kill)
        while killing.is_alive():
            # By a master whose replica is not back: it may be lost.
            with contextlib.suppress(NotReplicatedError):
                delay = chance.uniform(0, self.LONGEST_DELAY)
                posted.append(proj.shared.post((0,), delay=delay, retry_policy=POLICY).id)
            killing.join(0.005)
        killing.result()
        wait_until_empty(90)
        rows = proj.records()
        runs = Counter(row["id"] for row in rows)
        assert set(posted) <= set(runs)
        assert min(row["at"] - row["due"] for row in rows) >= 0
        # A kill finds no more in a worker's hands than it may claim, and a failover what that worker and the other had.
        repeated = sum(count - 1 for count in runs.values())
        assert repeated <= self.KILLS * 3 * self.CONCURRENCY * 4
        print(f"{len(rows)} runs of {len(posted)} tasks, {self.KILLS} kills of each kind, {repeated} ran again")
