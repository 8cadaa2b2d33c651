"""How the nodes of these tests run: the server under test, and workers that import the package and the rig."""

import os
from pathlib import Path

from celery_dtimer.testing.nodes.recipes import WORKER_IMAGE, Recipe, RedisRecipe, WorkerRecipe
from rig.servers import server_binary

REPOSITORY = Path(__file__).resolve().parents[2]

#: What a test's project may import: the package, and the rig.
IMPORTED = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])


def recipes() -> dict[str, Recipe]:
    """The recipes by the beginning of an image's name."""
    return {"redis:": RedisRecipe(server_binary), WORKER_IMAGE: WorkerRecipe([IMPORTED])}
