"""A test that decides what time it is sees what was posted on a commit, and Django's Tasks, come due."""

import importlib
from datetime import timedelta

import pytest
from django.test import TestCase

from celery_dtimer.testing import virtual_timer


@pytest.fixture
def tasks(app):
    import site_tasks

    from celery_dtimer.django.running import celery_task_of

    celery_task_of.cache_clear()
    return importlib.reload(site_tasks)


def test_a_task_of_djangos_runs_when_it_is_due(app, tasks, redis_url):
    with virtual_timer(app, url=redis_url) as timer:
        result = tasks.add.using(run_after=timer.now + timedelta(days=30)).enqueue(1, y=2)
        assert timer.advance(days=29) == []
        timer.advance(days=1)
        found = tasks.add.get_result(result.id)
        assert (found.return_value, found.is_finished) == (3, True)


class TestInATestCase(TestCase):
    @pytest.fixture(autouse=True)
    def _project(self, app, remind, redis_url):
        self.app, self.remind, self.url = app, remind, redis_url

    def test_what_was_posted_on_a_commit_runs_a_day_later(self):
        timer = self.enterContext(virtual_timer(self.app, url=self.url))
        with self.captureOnCommitCallbacks(execute=True):
            self.remind.post_in_on_commit(timedelta(days=1), 17)
        timer.assert_posted("shop.remind", args=(17,), in_=timedelta(days=1), within=0)
        [fired] = timer.advance(days=1)
        assert fired.args == (17,)
