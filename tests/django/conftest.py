"""A site of Django's in this process: its settings, its database, and a Celery app whose tasks it has equipped."""

from importlib.util import find_spec

import pytest
from celery import _state
from rig.outsider import Outsider

#: Django's Tasks, or their backport for older versions of it.
TASKS = "django.tasks" if find_spec("django.tasks") else "django_tasks"

#: What the console and the admin need.
APPS = [
    "celery_dtimer.django",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = {
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


@pytest.fixture(scope="session", autouse=True)
def _site(tmp_path_factory):
    """Django is set up once in a process. No variable names its settings, so that Celery does not see it."""
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connections

    folder = tmp_path_factory.mktemp("site")
    settings.configure(
        SECRET_KEY="not one",
        USE_TZ=True,
        ROOT_URLCONF="site_urls",
        ALLOWED_HOSTS=["testserver", "localhost"],
        INSTALLED_APPS=APPS,
        MIDDLEWARE=MIDDLEWARE,
        TEMPLATES=[TEMPLATES],
        DATABASES={
            name: {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / f"{name}.sqlite3"}
            for name in ("default", "other")
        },
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        STATIC_URL="static/",
        TASKS={
            "default": {"BACKEND": "celery_dtimer.django.tasks.DTimerBackend", "QUEUES": []},
            "ranked": {"BACKEND": "celery_dtimer.django.tasks.DTimerBackend", "OPTIONS": {"PRIORITIES": True}},
            "immediate": {"BACKEND": f"{TASKS}.backends.immediate.ImmediateBackend"},
        },
    )
    django.setup()
    call_command("migrate", verbosity=0)
    connections.close_all()


@pytest.fixture(autouse=True)
def _closed_connections():
    """What is left to the garbage collection warns, in some later test."""
    yield
    from django.db import connections

    connections.close_all()


@pytest.fixture
def app(make_app, redis_url, monkeypatch):
    """An app as the project's ``celery.py`` makes it; what waits is cancelled after the test."""
    from django.apps import apps

    app = make_app(dtimer_url=redis_url, result_backend="cache+memory://", result_extended=True)
    # Of other threads too: with Django's settings in the environment, Celery does that.
    app.set_current()
    monkeypatch.setattr(_state, "default_app", app)
    apps.get_app_config("dtimer").ready()
    yield app
    with Outsider(redis_url) as timer:
        for event in timer.upcoming(limit=10_000):
            timer.cancel(event.id)


@pytest.fixture
def remind(app):
    @app.task(name="shop.remind")
    def remind(order_id, *, text="please pay"):
        return f"{text} {order_id}"

    return remind


@pytest.fixture
def waiting(redis_url):
    """Says how many events wait."""

    def waiting():
        with Outsider(redis_url) as timer:
            return timer.count().pending

    return waiting
