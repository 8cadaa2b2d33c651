"""install(): once or twice, before or after the tasks, beside other apps, and never in the way."""

import threading
from types import SimpleNamespace

import pytest
from celery import Celery, Task, _state, shared_task
from kombu import Queue
from rig.ports import HOST, free_port
from rig.projects import close_app

from celery_dtimer import DTimerTask, NotInstalledError, TimerResult, dtimer_task, get_timer, install
from celery_dtimer.posting.install import STEPS


def test_a_second_install_changes_nothing(app, add, published):
    wrapped, steps = app.send_task, set(app.steps["consumer"])
    assert install(app) is app
    assert app.send_task is wrapped
    assert app.steps["consumer"] == steps
    assert sorted(step for step in app.steps["consumer"] if "dtimer" in str(step)) == sorted(STEPS)
    assert add.post_in(60, 1).peek() is not None
    assert published(app) is None


def test_a_second_install_adds_its_settings_even_after_the_first_use(app, add, redis_client):
    add.post_in(60, 1).cancel()
    install(app, namespace="other")
    result = add.post_in(60, 1)
    assert redis_client.keys("{other:tasks:0}:*")
    assert result.cancel()


@pytest.mark.parametrize("installed_first", [True, False])
def test_every_kind_of_task_can_be_posted_whether_install_comes_before_or_after(make_app, redis_url, installed_first):
    app = make_app(installed=installed_first, dtimer_url=redis_url)

    class Base(Task):
        abstract = True

    class ClassBased(Task):
        name = "class based"

        def run(self, x):
            return x

    @app.task(name="lazy")
    def lazy(x):
        return x

    @app.task(name="at once", lazy=False)
    def at_once(x):
        return x

    @app.task(name="with base", base=Base, bind=True)
    def with_base(self, x):
        return x

    @shared_task(name="shared")
    def shared(x):
        return x

    @dtimer_task(name="own")
    def own(x):
        return x

    class_based = app.register_task(ClassBased())
    if not installed_first:
        install(app)
    for task in (lazy, at_once, with_base, shared, own, class_based):
        result = task.post_in(60, 1)
        assert isinstance(result, TimerResult)
        assert result.peek() is not None, task.name
        assert task.post((1,), delay=60).cancel()
        assert task.post_at("2100-01-01", 1).cancel()


def test_a_lazy_task_that_nobody_has_looked_at_before_install_can_be_posted(make_app, redis_url):
    app = make_app(installed=False, dtimer_url=redis_url)

    @app.task(name="unseen")
    def unseen():
        pass

    install(app)
    assert not app.finalized
    assert unseen.post_in(60).peek() is not None


def test_a_task_that_is_looked_at_between_its_definition_and_install_can_be_posted(make_app, redis_url):
    app = make_app(installed=False, dtimer_url=redis_url)

    @app.task(name="early")
    def early():
        pass

    assert early.name == "early"  # finalizes the app
    install(app)
    assert early.post_in(60).peek() is not None
    assert app.tasks["early"].post_in(60).peek() is not None


def test_tasks_defined_after_the_app_is_final_can_be_posted(app):
    app.finalize()

    @app.task(name="late")
    def late():
        pass

    @shared_task(name="late and shared")
    def late_shared():
        pass

    for task in (late, late_shared):
        assert task.post_in(60).peek() is not None


def test_a_task_of_an_app_without_install_is_refused_and_told_of_install(make_app):
    app = make_app(installed=False)

    @dtimer_task(name="orphan")
    def orphan():
        pass

    for post in (
        lambda: orphan.post_in(1),
        lambda: orphan.post_at("2100-01-01"),
        lambda: orphan.post(delay=1),
        lambda: get_timer(app),
        lambda: TimerResult("id", app=app).peek(),
    ):
        with pytest.raises(NotInstalledError, match=r"app 'shop' .*celery_dtimer\.install\(app\)"):
            post()


def test_a_shared_task_in_a_thread_without_an_app_is_told_of_set_default(make_app, monkeypatch):
    make_app()
    monkeypatch.setattr(_state, "default_app", None)
    told = []

    @dtimer_task(name="elsewhere")
    def elsewhere():
        pass

    def post():
        try:
            elsewhere.post_in(60)
        except NotInstalledError as exc:
            told.append(str(exc))

    thread = threading.Thread(target=post)
    thread.start()
    thread.join()
    [text] = told
    assert "'default'" in text
    assert "app.set_default()" in text


def test_a_plain_task_of_an_app_without_install_has_no_new_methods(make_app):
    app = make_app(installed=False)

    @app.task(name="plain")
    def plain():
        pass

    assert not hasattr(plain, "post_in")
    assert not hasattr(Task, "post_in")


def test_two_apps_in_one_process_keep_to_their_own_redis_and_namespace(make_app, redis_server, redis_url):
    other_url = redis_server.url_of(3)
    first, second = make_app("first", dtimer_url=redis_url), make_app("second", dtimer_url=other_url)
    third = make_app("third", dtimer_url=redis_url, dtimer_namespace="third")

    results = []
    for app in (first, second, third):

        @app.task(name="same", lazy=False)
        def same():
            pass

        results.append(same.post((), task_id="same", delay=60))

    infos = [get_timer(app).peek("same") for app in (first, second, third)]
    assert None not in infos
    with redis_server.client(3) as client:
        assert [key.split(b":")[0] for key in client.keys("*events")] == [b"{dt"]
    assert results[1].cancel()
    assert results[0].peek() == infos[0]
    assert results[2].peek() == infos[2]
    assert results[2].cancel()


def test_a_shared_task_goes_to_the_timer_of_the_app_that_is_current(make_app, redis_url):
    first = make_app("first", dtimer_url=redis_url)
    second = make_app("second", dtimer_url=redis_url, dtimer_namespace="second")

    @shared_task(name="whose")
    def whose():
        pass

    first.set_current()
    assert whose.post_in(60).app is first
    second.set_current()
    result = whose.post_in(60)
    assert result.app is second
    assert get_timer(first).peek(result.id) is None
    assert result.cancel()


def test_install_does_not_read_the_configuration(redis_url):
    app = Celery("lazy", set_as_current=False)
    try:
        install(app)

        @app.task(name="unread")
        def unread():
            pass

        assert not app.configured
        app.config_from_object(SimpleNamespace(CELERY_DTIMER_URL=redis_url), namespace="CELERY")
        assert unread.post_in(60).peek() is not None
    finally:
        close_app(app)


def test_install_and_the_definition_of_tasks_open_no_connection(make_app, redis_client, redis_url):
    before = redis_client.info("stats")["total_connections_received"]
    app = make_app(broker=redis_url, dtimer_url=redis_url, result_backend=redis_url)

    @app.task(name="quiet", lazy=False)
    def quiet():
        pass

    @dtimer_task(name="quiet too")
    def quiet_too():
        pass

    app.finalize()
    assert quiet_too.acks_late
    assert redis_client.info("stats")["total_connections_received"] == before


def test_install_needs_neither_broker_nor_redis(make_app):
    closed = f"{HOST}:{free_port()}"
    app = make_app(broker=f"amqp://{closed}", dtimer_url=f"redis://{closed}")
    app.finalize()
    assert get_timer(app).namespace == "dt"


def test_settings_given_to_install_go_before_the_configuration(make_app, redis_client, redis_url):
    app = make_app(installed=False, dtimer_url="redis://nowhere:1", dtimer_namespace="conf", dtimer_max_redeliveries=3)
    install(app, url=redis_url, namespace="given")

    @app.task(name="given")
    def given():
        pass

    result = given.post_in(60)
    assert redis_client.keys("{given:tasks:0}:*")
    assert result.peek().max_redeliveries == 3
    assert result.cancel()


def test_a_users_own_methods_and_attributes_are_not_overwritten(app):
    class Poster(Task):
        abstract = True
        post = "an attribute of the user's"

        def post_in(self, *args):
            return ("mine", args)

    @app.task(name="poster", base=Poster)
    def poster(x):
        return x

    assert poster.post_in(1, 2) == ("mine", (1, 2))
    assert poster.post == "an attribute of the user's"
    assert poster.post_at("2100-01-01", 1).peek() is not None


def test_a_base_class_that_overrides_apply_async_sees_the_posts(app, stored):
    class Tagging(Task):
        abstract = True

        def apply_async(self, args=None, kwargs=None, **options):
            options["headers"] = {"tag": "set", **(options.get("headers") or {})}
            return super().apply_async(args, kwargs, **options)

    @app.task(name="tagged", base=Tagging)
    def tagged():
        pass

    assert stored(tagged.post_in(60)).headers["tag"] == "set"


def test_a_class_that_is_a_dtimer_task_posts_with_its_own_options(app, timer):
    class Debounced(DTimerTask):
        name = "debounced"
        dtimer_options = {"on_conflict": "postpone", "max_redeliveries": 2}  # noqa: RUF012 - as users write it

        def run(self):
            pass

    task = app.register_task(Debounced)
    task.post(delay=30, task_id="one")
    first = timer.peek("one")
    task.post(delay=60, task_id="one")
    assert (timer.peek("one").due_at - first.due_at).total_seconds() == pytest.approx(30, abs=5)
    assert first.max_redeliveries == 2


def test_send_task_without_a_post_reaches_the_broker_as_before(app, published, keyspace):
    app.send_task("elsewhere", (1,), {"k": 2}, task_id="by keyword", headers={"mine": 1}, countdown=60)
    message = published(app)
    assert message.headers["task"] == "elsewhere"
    assert message.headers["id"] == "by keyword"
    assert message.headers["mine"] == 1
    assert message.headers["eta"] is not None
    assert message.decode()[:2] == [[1], {"k": 2}]
    assert keyspace() == {}


def test_send_task_takes_every_one_of_its_parameters_by_position(app, make_app, published, keyspace):
    plain = make_app(installed=False)
    for one in (app, plain):
        with one.connection_for_write() as connection:
            # name, args, kwargs, countdown, eta, task_id, producer, connection, router, result_cls, expires
            result = one.send_task(
                "elsewhere", (1,), {"k": 2}, None, None, "by place", None, connection, None, None, 600
            )
            assert result.id == "by place"
    ours, theirs = published(app), published(plain)
    assert ours.headers["id"] == theirs.headers["id"] == "by place"
    assert ours.headers["expires"]
    assert ours.headers.keys() == theirs.headers.keys()
    assert ours.body == theirs.body
    assert keyspace() == {}


def test_a_task_called_natively_goes_to_the_broker_unchanged(make_app, redis_url, published, keyspace):
    messages = []
    for installed in (True, False):
        app = make_app(installed=installed, dtimer_url=redis_url, task_queues=[Queue("q"), Queue(f"q-{installed}")])

        @app.task(name="native", lazy=False)
        def native(x):
            pass

        native.apply_async((1,), countdown=3600, task_id="one", queue=f"q-{installed}", priority=3)
        messages.append(published(app, f"q-{installed}"))
    ours, theirs = messages
    assert {**ours.headers, "eta": 0} == {**theirs.headers, "eta": 0}
    assert ours.headers["eta"]
    assert ours.body == theirs.body
    assert ours.properties["priority"] == theirs.properties["priority"] == 3
    assert keyspace() == {}


def test_delay_and_signatures_still_go_to_the_broker(app, add, published, keyspace):
    add.delay(1, 2)
    assert published(app).decode()[0] == [1, 2]
    add.s(3, 4).apply_async(countdown=5)
    assert published(app).decode()[0] == [3, 4]
    assert keyspace() == {}
