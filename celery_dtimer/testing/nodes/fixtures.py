"""Those of pytest-celery's and pytest_docker_tools' fixtures that differ where nodes are processes."""

from collections.abc import Iterator, Mapping
from types import ModuleType

import kombu.pools
import pytest
from pytest_celery import (
    CELERY_REDIS_BACKEND,
    CELERY_REDIS_BROKER,
    CeleryTestBackend,
    CeleryTestBroker,
    CeleryTestWorker,
)

from celery_dtimer.testing.nodes import node_utils
from celery_dtimer.testing.nodes.adapting import adapt, running_docker
from celery_dtimer.testing.nodes.engine import ProcessDocker
from celery_dtimer.testing.nodes.recipes import Recipe, default_recipes
from celery_dtimer.testing.nodes.workers import WorkerNode

__all__ = (
    "celery_backend",
    "celery_broker",
    "default_worker_cls",
    "default_worker_utils_module",
    "docker_client",
    "node_recipes",
)


@pytest.fixture(scope="session")
def node_recipes() -> Mapping[str, Recipe]:
    """How images run here, by the beginnings of their names: override it to add one, or another server."""
    return default_recipes()


@pytest.fixture(scope="session")
def docker_client(request: pytest.FixtureRequest, node_recipes: Mapping[str, Recipe]) -> Iterator[ProcessDocker]:
    """The engine that all nodes are made by."""
    client = ProcessDocker(node_recipes)
    request.config.stash[running_docker] = client
    with pytest.MonkeyPatch.context() as patch:
        adapt(patch)
        yield client
    client.close()


@pytest.fixture(params=[CELERY_REDIS_BROKER])
def celery_broker(request: pytest.FixtureRequest) -> Iterator[CeleryTestBroker]:
    """The broker: of those that have a recipe. The connections to one that has ended are closed."""
    broker = request.getfixturevalue(request.param)
    yield broker
    broker.teardown()
    kombu.pools.reset()


@pytest.fixture(params=[CELERY_REDIS_BACKEND])
def celery_backend(request: pytest.FixtureRequest) -> Iterator[CeleryTestBackend]:
    """The result backend: of those that have a recipe."""
    backend = request.getfixturevalue(request.param)
    yield backend
    backend.teardown()


@pytest.fixture
def default_worker_cls() -> type[CeleryTestWorker]:
    """A worker that may also be frozen, and whose pool's processes are known."""
    return WorkerNode


@pytest.fixture
def default_worker_utils_module() -> ModuleType:
    """What is put beside a worker: it sees the processes of that node alone."""
    return node_utils
