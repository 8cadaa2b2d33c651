"""pytest-celery on local processes: its fixtures, as far as they differ, and those for more workers.

A test that asks for ``celery_setup`` gets pytest-celery's broker, backend and worker. A test that asks for
``worker_app`` and ``start_worker`` gets a project of its own on the shared server, which is quicker, or on
another transport. With both, ``start_worker`` starts further workers of ``celery_setup``'s app.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kombu.pools
import pytest
from celery import Celery
from pytest_celery import CELERY_REDIS_BROKER, CeleryWorkerContainer
from pytest_celery.vendors.worker import tasks as pytest_celery_tasks

from celery_dtimer.operating.workers import ASKING
from celery_dtimer.testing.nodes.engine import ProcessDocker
from celery_dtimer.testing.nodes.recipes import Recipe
from rig.brokers import BrokerPlace, filesystem_broker, memory_broker, rabbitmq_broker, sqs_broker
from rig.projects import PROJECT_MODULE, WorkerApp, loaded_project
from rig.rabbitmq import RabbitServer
from rig.recipes import IMPORTED, recipes
from rig.servers import RedisServer
from rig.sqs import SqsServer
from rig.workers import QUICK_START, WorkerStarter

BROKER_DATABASE, RESULT_DATABASE = 1, 2  # apart from the timer's, so that its keys are alone in database 0
SETUP_APP_MODULE = "app"  # pytest-celery's name for it


# What differs from the published fixtures


@pytest.fixture(scope="session")
def node_recipes() -> dict[str, Recipe]:
    return recipes()


@pytest.fixture
def default_worker_command(default_worker_container_cls: type[CeleryWorkerContainer]) -> list[str]:
    return default_worker_container_cls.command(*QUICK_START)


@pytest.fixture
def default_worker_env(default_worker_env: dict[str, str], timer_url: str) -> dict[str, str]:
    return {**default_worker_env, "DTIMER_URL": timer_url}


@pytest.fixture(autouse=True)
def fresh_pools() -> Iterator[None]:
    """kombu keeps connections by URL as long as the process lives, those to dead servers too."""
    yield
    # A connection that a thread reads from is not to be closed by another.
    for thread in threading.enumerate():
        if thread.name == ASKING:
            thread.join(10)
    kombu.pools.reset()


# A project of the test's own


@pytest.fixture
def app_file() -> Path:
    """The module that workers run: a project with the timer. A test module overrides this with one of its own.

    It makes ``app`` from the environment variables BROKER_URL, BROKER_TRANSPORT_OPTIONS and BROKER_SETTINGS
    (JSON both), RESULT_BACKEND and DTIMER_URL.
    """
    return Path(__file__).parents[1] / "worker" / "apps" / "timed.py"


@pytest.fixture
def broker_transport() -> str:
    """Which broker: to be overridden or parametrised by a test.

    ``redis``, ``redis node``, ``filesystem``, ``memory``, ``rabbitmq classic``, ``rabbitmq quorum``, ``rabbitmq
    node`` or ``sqs``. A *node* is the test's own, to be killed and restarted.
    """
    return "redis"


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitServer]:
    """The node that the tests of this process share: a start takes seconds."""
    with RabbitServer() as server:
        yield server


@pytest.fixture
def rabbitmq_node() -> Iterator[RabbitServer]:
    """A node that belongs to the test alone."""
    with RabbitServer() as server:
        yield server


@pytest.fixture(scope="session")
def sqs_server() -> Iterator[SqsServer]:
    """The SQS that the tests of this process share."""
    with SqsServer() as server:
        yield server


@pytest.fixture
def broker_place(
    request: pytest.FixtureRequest,
    broker_transport: str,
    redis_server: RedisServer,
    redis_url: str,
    tmp_path: Path,
) -> Iterator[BrokerPlace]:
    """Where that broker is. ``redis node`` is pytest-celery's node, ``rabbitmq node`` is ``rabbitmq_node``."""
    match broker_transport.split():
        case ["redis"]:
            yield BrokerPlace(redis_server.url_of(BROKER_DATABASE))
        case ["redis", "node"]:
            yield BrokerPlace(request.getfixturevalue(CELERY_REDIS_BROKER).config()["url"])
        case ["filesystem"]:
            yield filesystem_broker(tmp_path / "broker")
        case ["memory"]:
            yield memory_broker()
        case ["rabbitmq", ("classic" | "quorum") as queue_type]:
            with rabbitmq_broker(request.getfixturevalue("rabbitmq_server"), queue_type) as place:
                yield place
        case ["rabbitmq", "node"]:
            with rabbitmq_broker(request.getfixturevalue("rabbitmq_node"), "classic") as place:
                yield place
        case ["sqs"]:
            yield sqs_broker(request.getfixturevalue("sqs_server"))
        case _:
            raise ValueError(f"no broker transport {broker_transport!r}")


@pytest.fixture
def timer_url(redis_url: str) -> str:
    """DTIMER_URL: overridden by tests that break the timer's Redis and so start one of their own."""
    return redis_url


@pytest.fixture
def result_backend_url(redis_server: RedisServer, redis_url: str) -> str:
    """RESULT_BACKEND."""
    return redis_server.url_of(RESULT_DATABASE)


@pytest.fixture
def worker_app(
    request: pytest.FixtureRequest,
    docker_client: ProcessDocker,
    app_file: Path,
    broker_place: BrokerPlace,
    result_backend_url: str,
    timer_url: str,
) -> Iterator[WorkerApp]:
    """The app under test: ``celery_setup``'s if the test uses that, else the project in ``app_file``."""
    if "celery_setup" in request.fixturenames:
        yield _app_of_setup(request)
        return
    environment = {
        "BROKER_URL": broker_place.url,
        "BROKER_TRANSPORT_OPTIONS": json.dumps(broker_place.transport_options),
        "BROKER_SETTINGS": json.dumps(broker_place.settings),
        "RESULT_BACKEND": result_backend_url,
        "DTIMER_URL": timer_url,
    }
    volume = docker_client.volumes.create(f"project-{uuid.uuid4()}")
    try:
        with loaded_project(volume, app_file, environment) as project:
            yield project
    finally:
        volume.remove()


@pytest.fixture
def project_apart(
    docker_client: ProcessDocker, app_file: Path, broker_place: BrokerPlace, result_backend_url: str, timer_url: str
) -> Iterator[WorkerApp]:
    """The project in ``app_file``, not loaded here: frameworks and monitors leave much in a process.

    For a ``worker_app`` that a test module makes of it. The module ends as ``proj``, and has Django's settings too.
    """
    volume = docker_client.volumes.create(f"project-{uuid.uuid4()}")
    shutil.copyfile(app_file, volume.path / f"{PROJECT_MODULE}.py")
    environment = {
        "BROKER_URL": broker_place.url,
        "RESULT_BACKEND": result_backend_url,
        "DTIMER_URL": timer_url,
    }
    if "SECRET_KEY" in app_file.read_text("utf-8"):
        environment["DJANGO_SETTINGS_MODULE"] = PROJECT_MODULE
    yield WorkerApp(volume, PROJECT_MODULE, environment, Celery(broker=broker_place.url, set_as_current=False), None)
    volume.remove()


@pytest.fixture
def run_apart(worker_app: WorkerApp) -> Callable[..., Any]:
    """Runs Python in a process of its own, where the project is ``proj``, and returns what ``result`` is in the end.

    ``python`` is another interpreter than that of the tests.
    """

    def run(code: str, python: str = sys.executable) -> Any:
        done = subprocess.run(
            [python, "-c", f"import json, {PROJECT_MODULE} as proj\n{code}\nprint(json.dumps(result))"],
            cwd=worker_app.folder,
            env={**os.environ, "PYTHONPATH": IMPORTED, **worker_app.environment},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def start_worker(
    docker_client: ProcessDocker, worker_app: WorkerApp, last_confirms: Callable[[], None]
) -> Iterator[WorkerStarter]:
    """Starts workers of ``worker_app``; see `WorkerStarter`. All end with the test, after their last confirms."""
    starter = WorkerStarter(docker_client, worker_app)
    yield starter
    if starter.working:
        last_confirms()
    starter.close()


def _app_of_setup(request: pytest.FixtureRequest) -> WorkerApp:
    return WorkerApp(
        volume=request.getfixturevalue("default_worker_volume"),
        name=SETUP_APP_MODULE,
        environment=request.getfixturevalue("default_worker_env"),
        app=request.getfixturevalue("celery_setup").app,
        module=pytest_celery_tasks,
    )
