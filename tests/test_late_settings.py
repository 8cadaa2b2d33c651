"""A setting that is changed after its first use counts from then on, or is said not to: never a half of it."""

import logging
from types import SimpleNamespace

import pytest
from rig.waiting import wait_until

from celery_dtimer import SettingsError, get_timer, install
from celery_dtimer.extension import extension_of


@pytest.fixture
def app(make_app, redis_url):
    return make_app(dtimer_url=redis_url)


@pytest.fixture
def job(app):
    @app.task
    def job(): ...

    return job


@pytest.fixture
def timers_own(expected_keys):
    """What is stored here stays."""
    expected_keys.append("{*")


@pytest.mark.usefixtures("timers_own")
def test_a_takeover_that_is_set_raised_and_taken_back_after_posts_counts_at_once(app, job):
    def is_taken_over(countdown=60):
        return get_timer(app).peek(job.apply_async(countdown=countdown).id) is not None

    job.post_in(60)
    assert not is_taken_over()
    app.conf.dtimer_takeover = 5
    assert is_taken_over()
    app.conf.dtimer_takeover = 100
    assert not is_taken_over()
    assert is_taken_over(101)
    app.conf.dtimer_takeover = None
    assert not is_taken_over(101)
    app.conf.update(dtimer_takeover=5)
    assert is_taken_over()
    del app.conf["dtimer_takeover"]
    assert not is_taken_over()
    install(app, takeover=5)
    assert is_taken_over()


@pytest.mark.usefixtures("timers_own")
@pytest.mark.parametrize("way", ["attribute", "update", "object", "install"])
def test_another_place_counts_for_the_next_post(app, job, redis_url, way):
    job.post_in(60)
    if way == "attribute":
        app.conf.dtimer_namespace = "other"
    elif way == "update":
        app.conf.update(dtimer_namespace="other")
    elif way == "object":
        conf = SimpleNamespace(broker_url="memory://", dtimer_url=redis_url, dtimer_namespace="other")
        app.config_from_object(conf, force=True)
    else:
        install(app, namespace="other")
    assert get_timer(app).count().pending == 0
    job.post_in(60)
    assert get_timer(app).count().pending == 1


def test_what_a_configuration_object_has_anew_counts(make_app, redis_url):
    """Django's ``override_settings`` does that."""
    conf = SimpleNamespace(CELERY_BROKER_URL="memory://", CELERY_DTIMER_URL=redis_url)
    app = make_app(installed=False)
    app.config_from_object(conf, namespace="CELERY")
    install(app)
    assert extension_of(app).settings.max_events is None
    conf.CELERY_DTIMER_MAX_EVENTS = 4
    assert extension_of(app).settings.max_events == 4
    conf.CELERY_DTIMER_MAX_EVENTS = 5
    assert extension_of(app).settings.max_events == 5
    del conf.CELERY_DTIMER_MAX_EVENTS
    assert extension_of(app).settings.max_events is None


def test_a_wrong_setting_is_an_error_until_it_is_mended(app, job):
    assert extension_of(app).settings.max_events is None
    app.conf.dtimer_max_event = 4
    with pytest.raises(SettingsError, match="did you mean dtimer_max_events"):
        job.post_in(60)
    del app.conf["dtimer_max_event"]
    app.conf.dtimer_max_events = "4"
    with pytest.raises(SettingsError, match="'4'"):
        job.post_in(60)
    app.conf.dtimer_max_events = 4
    assert extension_of(app).settings.max_events == 4


def test_connections_stay_where_nothing_of_the_place_changes(app):
    shards = extension_of(app).shards
    app.conf.dtimer_takeover = 5
    app.conf.timezone = "Asia/Tokyo"
    assert extension_of(app).shards is shards
    app.conf.dtimer_namespace = "other"
    assert extension_of(app).shards is not shards


def test_while_a_worker_listens_a_change_is_said_once_and_has_no_effect(app, caplog):
    extension = extension_of(app)
    shards = extension.shards
    extension.hold()
    with caplog.at_level(logging.WARNING, "celery_dtimer"):
        app.conf.dtimer_namespace = "other"
        app.conf.dtimer_takeover = 5
        for _ in range(3):
            assert extension.settings.namespace == "dt"
            assert not extension.takes_over
            assert extension.shards is shards
    [record] = caplog.records
    assert "dtimer_namespace, dtimer_takeover changed in a worker that runs" in record.getMessage()
    extension.let_go()
    assert extension.settings.namespace == "other"
    assert extension.takes_over


class TestInAWorker:
    @pytest.fixture
    def app_file(self, tmp_path):
        file = tmp_path / "late.py"
        file.write_text(
            "import os\n"
            "from celery import Celery, signals\n"
            "import celery_dtimer\n"
            "app = Celery('proj', broker=os.environ['BROKER_URL'], backend=os.environ['RESULT_BACKEND'])\n"
            "app.conf.update(dtimer_url=os.environ['DTIMER_URL'], broker_connection_retry_on_startup=True)\n"
            "celery_dtimer.install(app)\n"
            "@app.task\n"
            "def second(): return 'ran'\n"
            "@app.task\n"
            "def first():\n"
            "    app.conf.dtimer_namespace = 'other'\n"
            "    return second.post_in(0.1).id\n",
            encoding="utf-8",
        )
        return file

    @pytest.mark.parametrize("pool", ["prefork", "threads"])
    def test_a_task_that_changes_the_place_posts_to_where_its_worker_listens(self, worker_app, start_worker, pool):
        worker = start_worker(pool=pool)
        second = worker_app.module.first.post_in(0.1).get(timeout=20)
        assert worker_app.app.AsyncResult(second).get(timeout=20) == "ran"
        wait_until(lambda: get_timer(worker_app.app).count().leased == 0, "the last confirm")
        assert worker.logs().count("dtimer_namespace changed in a worker that runs") == 1
