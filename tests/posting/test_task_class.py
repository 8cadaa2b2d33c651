"""@dtimer_task and the app's own task class: what each of them says is kept."""

import pytest
from celery import Task, shared_task

from celery_dtimer import DTimerTask, InvalidEventError, NotInstalledError, TimerResult, dtimer_task, install


class Own(Task):
    """A task class of an app."""

    acks_late = False
    colour = "green"
    dtimer_options = {"max_redeliveries": 3, "on_conflict": "postpone", "max_wait": 600}  # noqa: RUF012 - as users do

    def __call__(self, *args, **kwargs):
        return ("own", self.run(*args, **kwargs))

    def post_at(self, *args):
        return ("own", args)

    @property
    def post(self):
        return "a property of the user's"


@pytest.fixture
def own(make_app, redis_url):
    """An app with that class."""
    app = make_app(installed=False, dtimer_url=redis_url)
    app.task_cls = Own
    return install(app)


@pytest.mark.usefixtures("own")
def test_what_the_task_class_of_the_app_says_goes_before_the_timers_defaults():
    @dtimer_task(name="task")
    def task():
        return "run"

    assert isinstance(task, Own)
    assert task() == ("own", "run")
    assert task.acks_late is False
    assert task.reject_on_worker_lost is True
    assert task.colour == "green"
    assert task.post == "a property of the user's"
    assert task.post_at(1) == ("own", (1,))
    assert task.post_in(60).peek().max_redeliveries == 3


@pytest.mark.usefixtures("own")
def test_what_the_decorator_says_goes_before_the_task_class():
    @dtimer_task(name="task", acks_late=True, colour="red", reject_on_worker_lost=False, max_redeliveries=5)
    def task():
        pass

    assert (task.acks_late, task.reject_on_worker_lost, task.colour) == (True, False, "red")
    assert task.dtimer_options == {"max_redeliveries": 5, "on_conflict": "postpone", "max_wait": 600}
    assert Own.dtimer_options["max_redeliveries"] == 3

    @dtimer_task(name="strict", on_conflict="error")
    def strict():
        pass

    assert strict.dtimer_options == {"max_redeliveries": 3, "on_conflict": "error"}


def test_the_timers_defaults_go_before_the_configuration_as_a_tasks_own_do(make_app, redis_url):
    app = make_app(dtimer_url=redis_url, task_acks_late=False, task_reject_on_worker_lost=False)

    @dtimer_task(name="task")
    def task():
        pass

    assert task.__class__.__mro__[1] is app.Task
    assert (task.acks_late, task.reject_on_worker_lost) == (True, True)
    assert task.dtimer_options == {}


@pytest.mark.usefixtures("own")
def test_a_base_that_is_given_is_the_base_and_the_defaults_hold():
    class Given(Task):
        abstract = True

    @dtimer_task(name="task", base=Given)
    def task():
        return "run"

    assert isinstance(task, Given)
    assert not isinstance(task, Own)
    assert (task(), task.acks_late, task.reject_on_worker_lost) == ("run", True, True)
    assert task.post(delay=60).peek() is not None


def test_a_shared_task_has_the_class_of_each_app(own, make_app, redis_url):
    other = make_app("other", dtimer_url=redis_url)

    @dtimer_task(name="task")
    def task():
        return "run"

    assert own.tasks["task"]() == ("own", "run")
    assert own.tasks["task"].acks_late is False
    assert other.tasks["task"]() == "run"
    assert other.tasks["task"].acks_late is True


def test_every_decorator_makes_a_task_of_the_apps_class(own):
    @own.task(name="app's")
    def of_the_app():
        return "run"

    @shared_task(name="celery's")
    def shared():
        return "run"

    @dtimer_task(name="timer's", bind=True)
    def timed(self):
        return "run"

    assert of_the_app() == shared() == timed() == ("own", "run")


def test_a_task_of_an_app_without_install_says_so_wherever_it_is_posted_from(make_app):
    app = make_app(installed=False)

    @dtimer_task(name="task", bind=True)
    def task(self):
        return self.post_in(1)

    for post in (task, app.tasks["task"].post, lambda: task.post_at("2100-01-01")):
        with pytest.raises(NotInstalledError, match=r"celery_dtimer\.install\(app\)"):
            post()


def test_dtimer_task_class_can_be_a_base_or_one_of_several(own):
    class Both(DTimerTask, Own):
        abstract = True

    @own.task(name="plain", base=DTimerTask)
    def plain():
        return "run"

    @dtimer_task(name="both", base=Both)
    def both():
        return "run"

    assert plain() == "run"
    assert both() == ("own", "run")
    for task in (plain, both):
        assert isinstance(task, DTimerTask)
        assert task.post(delay=60).peek() is not None


def test_a_class_with_its_parameters_and_result_is_the_class(own):
    class Named(DTimerTask[[str], int]):
        abstract = True

    @own.task(name="plain", base=DTimerTask[[str], int])
    def plain(name):
        return len(name)

    @dtimer_task(name="named", base=Named)
    def named(name):
        return len(name)

    assert DTimerTask[..., None] is DTimerTask
    assert TimerResult[int] is TimerResult
    for task in (plain, named):
        assert isinstance(task, DTimerTask)
        assert task("abc") == 3
        assert isinstance(task.post_in(60, "abc"), TimerResult)


@pytest.mark.parametrize("decorator", [dtimer_task, shared_task])
def test_timer_options_of_a_class_that_are_none_are_refused_by_the_tasks_name(make_app, redis_url, decorator):
    app = make_app(installed=False, dtimer_url=redis_url)

    class Wrong(Task):
        dtimer_options = 3

    class Misspelt(Task):
        dtimer_options = {"max_redelivery": 3}  # noqa: RUF012 - as users do

    install(app)

    @decorator(name="wrong", base=Wrong)
    def wrong():
        pass

    @decorator(name="misspelt", base=Misspelt)
    def misspelt():
        pass

    with pytest.raises(
        InvalidEventError, match=r"dtimer_options must be a mapping of max_redeliveries, .* got 3 .*, of task wrong"
    ):
        wrong.post_in(60)
    with pytest.raises(
        InvalidEventError,
        match=r"must be one of max_redeliveries, on_conflict, max_wait, key, jitter, tags, misfire, grace, got max_r",
    ):
        misspelt.post_in(60)
