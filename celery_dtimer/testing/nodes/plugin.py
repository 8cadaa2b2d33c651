"""A plugin of pytest: its fixtures go before pytest-celery's, unless CELERY_TEST_NODES is ``containers``.

Then it has none, and the same tests run in containers, as pytest-celery runs them by itself.
"""

import os
from collections.abc import Generator

import pytest

from celery_dtimer.testing.nodes.adapting import running_docker

#: Environment variable: ``processes``, as without it, or ``containers``.
MODE = "CELERY_TEST_NODES"

LOG_TAIL = 20_000  # characters of each node's log in the report of a failed test

match os.environ.get(MODE, "processes"):
    case "processes":
        from celery_dtimer.testing.nodes.fixtures import *  # noqa: F403 - pytest looks for fixtures among the names
    case "containers":
        pass
    case other:
        raise pytest.UsageError(f"{MODE} must be 'processes' or 'containers', got {other!r}")


def pytest_report_header() -> str:
    """Say what the nodes are."""
    return f"celery nodes: {os.environ.get(MODE, 'processes')} ({MODE})"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the nodes wrote when a test fails; they live until its teardown."""
    report = yield
    docker = item.config.stash.get(running_docker, None)
    if report.failed and docker is not None:
        for node in docker.containers.list():
            title = f"log of {' '.join(node.command) or node.image} ({node.name}, {node.status})"
            report.sections.append((title, node.logs().decode(errors="replace")[-LOG_TAIL:]))
    return report
