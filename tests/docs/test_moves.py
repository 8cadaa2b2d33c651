"""The scripts of the pages that move what waits elsewhere: each is run against the tool that it moves from."""

import pytest
from pages import REPOSITORY, files

HOW_TO = REPOSITORY / "docs" / "how-to"

#: A project of Django's with beat's tables, and a task.
DJANGO = """
import django
from django.conf import settings

settings.configure(
    USE_TZ=True,
    INSTALLED_APPS=["django_celery_beat"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}},
)
django.setup()

from celery import Celery
import celery_dtimer

app = Celery("shop", broker="memory://")
celery_dtimer.install(app, url=%r)


@app.task(name="shop.tasks.remind")
def remind(*args, **kwargs): ...
"""

#: A project whose tasks still have the other package's class; its moves run before that is taken away as well as after.
LONGTERM = """
from celery import Celery
import celery_dtimer
import celery_longterm_scheduler

app = Celery("shop", broker="memory://", task_cls=celery_longterm_scheduler.Task)
app.conf.longterm_scheduler_backend = %r
celery_dtimer.install(app, url=%r)
app.set_default()


@app.task(name="shop.remind")
def remind(*args, **kwargs): ...
"""


@pytest.fixture
def app_file(tmp_path):
    """A module that nobody asks for."""
    file = tmp_path / "unused.py"
    file.write_text("")
    return file


@pytest.fixture
def worker_app(project_apart):
    return project_apart


def test_clocked_schedules_move_to_the_timer_each_under_its_name_and_at_its_time(
    worker_app, run_apart, redis_url, timer_url, expected_keys
):
    expected_keys.append("{*")
    (worker_app.folder / "shop").mkdir()
    (worker_app.folder / "shop" / "celery.py").write_text(DJANGO % timer_url)
    for name, source in files(HOW_TO / "from-clocked.md").items():
        (worker_app.folder / name).write_text(source)
    code = """
from shop.celery import app
from django.core.management import call_command
call_command("migrate", verbosity=0)
from datetime import datetime, UTC
from django_celery_beat.models import ClockedSchedule, IntervalSchedule, PeriodicTask
from celery_dtimer import get_timer
from shop.clocked import move
when = datetime(2035, 1, 1, tzinfo=UTC)
clocked = ClockedSchedule.objects.create(clocked_time=when)
every = IntervalSchedule.objects.create(every=10, period="seconds")
task = {"task": "shop.tasks.remind"}
one = {**task, "clocked": clocked, "one_off": True}
first = {"args": "[17]", "kwargs": '{"text": "pay"}', "queue": "mail", "headers": '{"shop": "7"}'}
PeriodicTask.objects.create(name="first", **first, **one)
PeriodicTask.objects.create(name="second", queue="", **one)
PeriodicTask.objects.create(name="done", enabled=False, **one)
PeriodicTask.objects.create(name="periodic", interval=every, **task)
moved = move(), move()
seen = [(e.id, e.queue, e.args, e.kwargs, e.due_at == when) for e in get_timer(app).upcoming()]
result = [moved, seen, list(PeriodicTask.objects.filter(enabled=True).order_by("name").values_list("name", flat=True))]
"""
    moved, seen, enabled = run_apart(code)
    assert moved == [2, 0]
    assert sorted(seen) == [["first", "mail", "(17,)", "{'text': 'pay'}", True], ["second", "celery", "()", "{}", True]]
    assert "first" not in enabled
    assert "periodic" in enabled


def test_what_celery_longterm_scheduler_has_moves_to_the_timer_under_its_id_and_at_its_time(
    worker_app, run_apart, redis_url, timer_url, expected_keys
):
    expected_keys.append("{*")
    (worker_app.folder / "shop.py").write_text(LONGTERM % (redis_url, timer_url))
    for name, source in files(HOW_TO / "from-longterm-scheduler.md").items():
        (worker_app.folder / name).write_text(source)
    code = """
from shop import app, remind
from datetime import datetime, UTC
from celery_longterm_scheduler import get_scheduler
from celery_dtimer import get_timer
from move import move
when = datetime(2035, 1, 1, tzinfo=UTC)
remind.apply_async((17,), {"text": "pay"}, eta=when, task_id="first", queue="mail")
remind.apply_async((18,), eta=when, task_id="second")
store = get_scheduler(app).backend.client
before = store.zcard("scheduled_task_id_by_time")
moved = move(app), move(app)
seen = [(e.id, e.queue, e.args, e.kwargs, e.due_at == when) for e in get_timer(app).upcoming()]
result = [before, moved, store.zcard("scheduled_task_id_by_time"), seen]
"""
    before, moved, left, seen = run_apart(code)
    assert (before, moved, left) == (2, [2, 0], 0)
    assert sorted(seen) == [
        ["first", "mail", "(17,)", "{'text': 'pay'}", True],
        ["second", "celery", "(18,)", "{}", True],
    ]
