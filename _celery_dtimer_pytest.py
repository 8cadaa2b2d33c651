"""pytest's plugin of celery-dtimer: the fixtures of docs/testing.md.

It stands outside of the package, since pytest imports it in every project where celery-dtimer is installed: the package
imports Celery, and is imported by the first test that asks for a fixture.
"""

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from celery_dtimer.testing import VirtualTimer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Name the options of pytest's configuration."""
    parser.addini(
        "dtimer_app", "The Celery app under test, such as proj.celery:app; by default the fixture celery_app."
    )
    parser.addini("dtimer_url", "The Redis of the tests; by default an embedded server, one a process.")
    parser.addini("dtimer_results", "Where results are during a test: memory, or app.", default="memory")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set ``dtimer`` up before all that a test asks for: a worker keeps to the settings that it begins with."""
    for item in items:
        names = getattr(item, "fixturenames", [])
        if "dtimer" in names and "celery_worker" in names:
            asked = {"celery_worker", *inspect.signature(getattr(item, "obj", print)).parameters}
            names.remove("dtimer")
            names.insert(min(names.index(name) for name in asked if name in names), "dtimer")


@pytest.fixture(scope="session")
def dtimer_url(pytestconfig: pytest.Config) -> str:
    """The URL of the tests' Redis: the option's, that of DTIMER_TEST_URL, or of an embedded server."""
    from celery_dtimer.testing.servers import url_for_tests  # noqa: PLC0415 - see above

    return url_for_tests(pytestconfig.getini("dtimer_url"))


@pytest.fixture
def dtimer_app(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Any:
    """The Celery app under test: the option's, or that of the fixtures of celery.contrib.pytest."""
    path = pytestconfig.getini("dtimer_app")
    if path:
        module, _, name = path.partition(":")
        return getattr(import_module(module), name or "app")
    fixture = "celery_session_app" if "celery_session_app" in request.fixturenames else "celery_app"
    try:
        return request.getfixturevalue(fixture)
    except pytest.FixtureLookupError as exc:
        raise pytest.UsageError(
            "dtimer has no Celery app: set the option dtimer_app to one (proj.celery:app), or override the fixture "
            "dtimer_app or celery_app"
        ) from exc


@pytest.fixture
def dtimer(dtimer_app: Any, dtimer_url: str, pytestconfig: pytest.Config) -> "Iterator[VirtualTimer]":
    """The timer of the app, in a namespace of the test's own and with a time that the test moves."""
    from celery_dtimer.testing import virtual_timer  # noqa: PLC0415 - see above

    with virtual_timer(dtimer_app, url=dtimer_url, results=pytestconfig.getini("dtimer_results")) as timer:
        yield timer
