"""Fixtures of the tests with companions: each project is in ``apps/``, under the name of its test module."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from rig.plugin import RESULT_DATABASE
from rig.projects import WorkerApp
from rig.servers import RedisServer
from rig.waiting import wait_until

from celery_dtimer.testing.nodes.containers import ProcessContainer
from celery_dtimer.testing.nodes.engine import ProcessDocker
from celery_dtimer.testing.nodes.recipes import WORKER_IMAGE

APPS = Path(__file__).parent / "apps"


@pytest.fixture
def app_file(request: pytest.FixtureRequest) -> Path:
    return APPS / Path(request.path).name.removeprefix("test_")


@pytest.fixture
def order() -> str:
    """When ``install`` is called, ``before`` the companion's own call or ``after`` it: to be parametrised by a test."""
    return "before"


@pytest.fixture
def worker_app(project_apart: WorkerApp, app_file: Path, order: str) -> WorkerApp:
    environment = {**project_apart.environment, "INSTALLED": order}
    if 'environ["RESULT_BACKEND"]' not in app_file.read_text("utf-8"):
        # Celery's command takes it for an option that goes before the project's own backend.
        del environment["RESULT_BACKEND"]
    return replace(project_apart, environment=environment)


@pytest.fixture
def start_celery(docker_client: ProcessDocker, worker_app: WorkerApp) -> Iterator[Callable[..., ProcessContainer]]:
    """Starts another command of Celery than a worker: beat, Flower. It ends with the test."""
    started = []

    def start(*arguments: str, environment: Mapping[str, str] | None = None) -> ProcessContainer:
        container = docker_client.containers.run(
            WORKER_IMAGE,
            command=["celery", "-A", worker_app.name, *arguments],
            environment={"PYTHONUNBUFFERED": "1", **worker_app.environment, **(environment or {})},
            volumes={worker_app.volume.name: {"bind": "/app"}},
        )
        started.append(container)
        return container

    yield start
    for container in started:
        container.remove(force=True)


@pytest.fixture
def wait_for_results(redis_server: RedisServer) -> Callable[..., list]:
    """Waits until enough tasks have succeeded, of whatever ids, and returns what they returned."""

    def wait(is_enough: Callable[[list], bool]) -> list:
        with redis_server.client(RESULT_DATABASE) as client:

            def enough() -> list | None:
                stored = [json.loads(client.get(key)) for key in client.keys("celery-task-meta-*")]
                found = [each["result"] for each in stored if each["status"] == "SUCCESS"]
                return found if is_enough(found) else None

            return wait_until(enough, "the results of enough tasks", 30)

    return wait
