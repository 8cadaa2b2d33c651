"""The examples for frameworks are projects that work, each in a process of its own, beside a worker."""

from importlib.util import find_spec

import pytest
from pages import EXAMPLE_REDIS, REPOSITORY, blocks
from rig.waiting import wait_until

PAGE = REPOSITORY / "docs" / "how-to" / "frameworks.md"
DJANGO = REPOSITORY / "docs" / "how-to" / "django.md"

#: What a new project of Django has of its own in its settings.
DJANGO_SETTINGS = """
SECRET_KEY = "not one"
USE_TZ = True
ROOT_URLCONF = "shop.urls"
ALLOWED_HOSTS = ["localhost"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}}
"""


def named(page):
    """The blocks of a page, each with the name of the file that it is, or is a part of."""
    return [(block.source.split("\n", 1)[0].removeprefix("# "), block.source) for block in blocks(page)]


def files(word):
    """The files of the example that has a word in it, by their names."""
    if word == "django":
        found = {}
        for name, source in named(DJANGO):
            found[name] = found.get(name, "") + source
        if not find_spec("django.tasks"):
            found["shop/tasks.py"] = found["shop/tasks.py"].replace("from django.tasks", "from django_tasks")
        return found
    return {name: source for name, source in named(PAGE) if name == "shop.py" and word in source}


@pytest.fixture
def app_file(tmp_path):
    """A module that nobody asks for: the examples have names of their own."""
    file = tmp_path / "unused.py"
    file.write_text("")
    return file


@pytest.fixture
def worker_app(project_apart):
    return project_apart


@pytest.fixture
def run_example(worker_app, redis_server, start_worker, run_apart):
    """Puts an example into the folder, with delays of a moment, starts a worker of it, and runs code beside it."""

    def run(word, code):
        found = files(word)
        assert found
        for name, source in found.items():
            target = worker_app.folder / name
            target.parent.mkdir(exist_ok=True)
            here = source.replace(EXAMPLE_REDIS, redis_server.url_of(0)[:-1]).replace("86_400", "0.3")
            target.write_text(here + (DJANGO_SETTINGS if name == "shop/settings.py" else ""))
        start_worker(pool="threads", app_module="shop")
        answer = run_apart(code)
        with redis_server.client() as client:
            wait_until(lambda: not client.exists("{dt:tasks:0}:leased"), "the last confirm")
        return answer

    return run


def test_the_example_for_flask_works(run_example):
    code = """
import shop
client = shop.flask_app.test_client()
reminder = client.post("/orders/17").json["reminder"]
said = shop.app.AsyncResult(reminder).get(timeout=30)
waits = shop.remind.post_in(3600, "18").id
result = [said, client.delete(f"/reminders/{waits}").json, client.delete(f"/reminders/{waits}").json]
"""
    assert run_example("flask", code) == ["The shop: please pay 17", {"forgotten": True}, {"forgotten": False}]


def test_the_example_for_django_works(run_example):
    code = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
import django
django.setup()
from django.core.management import call_command
from django.test import Client
from django.urls import resolve
import shop
from shop.tasks import invite, invite_tomorrow, remind
from shop.views import order, pay
call_command("check")
said = shop.celery_app.AsyncResult(json.loads(order(None, 17).content)["reminder"]).get(timeout=30)
waits = remind.post_in(3600, 18)
invited = invite_tomorrow("ada")
result = [
    said,
    json.loads(pay(None, waits.id).content),
    str(invited.status),
    bool(shop.celery_app.AsyncResult(invited.id).cancel()),
    shop.celery_app.AsyncResult(invite.enqueue("bob").id).get(timeout=30),
    Client().get("/admin/dtimer/", SERVER_NAME="localhost").status_code,
]
"""
    assert run_example("django", code) == [
        "please pay 17",
        {"forgotten": True},
        "READY",
        True,
        "invited bob",
        302,
    ]


@pytest.mark.slow
def test_the_example_for_fastapi_works(run_example):
    code = """
import shop
from fastapi.testclient import TestClient
with TestClient(shop.api) as client:
    reminder = client.post("/orders/17").json()["reminder"]
    said = shop.app.AsyncResult(reminder).get(timeout=30)
    waits = shop.remind.post_in(3600, "18").id
    result = [said] + [client.delete(f"/reminders/{waits}").status_code for _ in range(2)]
"""
    assert run_example("fastapi", code) == ["please pay 17", 200, 409]
