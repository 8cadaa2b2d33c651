"""What becomes of an event, by what became of its task: every outcome, in every pool, in real workers."""

import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest
from outcome_runs import Matrix
from outcome_table import ROWS
from rig.pools import POOLS
from rig.projects import loaded_project
from rig.servers import RedisServer
from rig.workers import WorkerStarter

APP = Path(__file__).parent / "apps" / "outcomes.py"


class Matrices:
    """One run of all rows for each pool that a test asks for."""

    def __init__(self, docker):
        self._docker = docker
        self._runs = {}

    def of(self, pool):
        if pool not in self._runs:
            self._runs[pool] = self._run(pool)
        return self._runs[pool]

    def _run(self, pool):
        with ExitStack() as stack:
            server = stack.enter_context(RedisServer())
            volume = self._docker.volumes.create(f"project-{uuid.uuid4()}")
            stack.callback(volume.remove)
            environment = {
                "BROKER_URL": server.url_of(1),
                "BROKER_TRANSPORT_OPTIONS": "{}",
                "RESULT_BACKEND": server.url_of(2),
                "DTIMER_URL": server.url,
            }
            project = stack.enter_context(loaded_project(volume, APP, environment))
            starter = WorkerStarter(self._docker, project)
            stack.callback(starter.close)
            return Matrix(project, starter, pool).run()


@pytest.fixture(scope="module")
def matrices(docker_client):
    return Matrices(docker_client)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_event_of_a_task(matrices, row, pool, record_property):
    observed = matrices.of(pool)[0][row.name]
    record_property("outcome", [row.name, pool, observed.outcome])
    assert observed.outcome == row.in_pool(pool), observed
