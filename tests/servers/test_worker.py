"""A worker's main path, on whatever server ``make test-servers`` runs it on, and as whatever user."""

import os

import pytest
from rig.core import CoreSuite, MainPath
from rig.servers import USER
from rig.waiting import wait_until


class TestOnThisServer(MainPath):
    @pytest.fixture(params=["prefork", "threads"])
    def pool(self, request):
        return request.param

    test_a_retry = CoreSuite.test_a_retry_of_a_fired_task_goes_back_to_the_timer_and_leaves_nothing

    def test_the_timer_is_spoken_to_as_the_user_that_was_asked_for(self, proj, start_worker, pool, redis_client):
        start_worker(pool=pool)
        proj.note.post_in(0, 1).get(timeout=15)

        def listeners():
            return {row["user"] for row in redis_client.client_list() if row["cmd"] == "blpop"}

        user = os.environ.get(USER, "default:").partition(":")[0]
        assert wait_until(listeners, "the listener to block on its wake list") == {user}
