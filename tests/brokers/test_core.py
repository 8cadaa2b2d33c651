"""The core of it over every broker that the suite has a server for."""

import pytest
from rig.core import CoreSuite, QueuesAtRunTime
from rig.pools import POOLS

BROKERS = ("redis", "rabbitmq classic", "rabbitmq quorum", "sqs", "filesystem")


class TestCore(CoreSuite):
    @pytest.fixture(params=BROKERS)
    def broker_transport(self, request):
        return request.param

    @pytest.fixture
    def pool(self):
        return "prefork"


class TestEveryPoolOverRabbitMQ(CoreSuite):
    """The one broker whose client keeps a hub, acks and heartbeats of its own."""

    @pytest.fixture
    def broker_transport(self):
        return "rabbitmq classic"

    @pytest.fixture(params=[pool for pool in POOLS if pool != "prefork"])
    def pool(self, request):
        return request.param


class TestQueuesAtRunTime(QueuesAtRunTime):
    """SQS carries no remote control: there, a worker's queues are those that it was started with."""

    @pytest.fixture(params=[broker for broker in BROKERS if broker != "sqs"])
    def broker_transport(self, request):
        return request.param

    @pytest.fixture
    def pool(self):
        return "prefork"


@pytest.mark.parametrize(
    ("broker_transport", "queue_type"), [("rabbitmq classic", "classic"), ("rabbitmq quorum", "quorum")]
)
def test_the_queues_are_of_the_type_that_the_test_is_named_after(
    start_worker, rabbitmq_server, broker_place, broker_transport, queue_type
):
    start_worker(queues="celery,named")
    types = rabbitmq_server.queue_types(broker_place.url.rpartition("/")[2])
    assert {name: types[name] for name in ("celery", "named")} == {"celery": queue_type, "named": queue_type}


@pytest.mark.parametrize("broker_transport", BROKERS)
def test_tasks_of_the_broker_and_of_the_timer_run_side_by_side_and_the_broker_keeps_none(
    proj, start_worker, broker_transport, wait_for_records, wait_until_empty
):
    # Their acks go to two places: a message of the broker acknowledged at the wrong one would come again.
    start_worker()
    results = []
    for number in range(50):
        results.append(proj.shared.delay(number))
        results.append(proj.shared.post_in(0.01 * number, number))
    assert [result.get(timeout=30) for result in results] == [n for n in range(50) for _ in range(2)]
    wait_until_empty()
    start_worker(name="second")
    assert proj.note.post_in(0.5, "last").get(timeout=15)
    rows = proj.records()
    assert sorted(row["id"] for row in rows if row["redelivered"] is not True) == sorted(row["id"] for row in rows)
    assert len(rows) == 101
