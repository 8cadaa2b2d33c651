"""What the tests of the users' test kit share: an app, and its timer in virtual time."""

import pytest

from celery_dtimer.testing import virtual_timer


@pytest.fixture
def app(make_app):
    """An app whose own Redis is not there."""
    return make_app(dtimer_url="redis://localhost:1/0", result_backend="redis://localhost:1/0")


@pytest.fixture
def dtimer(app, redis_url):
    with virtual_timer(app, url=redis_url) as timer:
        yield timer


@pytest.fixture
def ran():
    """What the tasks note down."""
    return []


@pytest.fixture
def note(app, ran, dtimer):
    """A task that notes its argument, and the test's time in seconds since its beginning."""
    began = dtimer.now

    @app.task(name="note")
    def note(what):
        ran.append((what, (dtimer.now - began).total_seconds()))
        return what

    return note
