"""How an image runs as a local process: the name's beginning decides the command line."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rig.ports import HOST
from rig.servers import server_binary

if TYPE_CHECKING:
    from rig.containers import ProcessContainer

REPOSITORY = Path(__file__).resolve().parents[2]

#: What a test's project may import: the package, and the rig.
IMPORTED = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])

# The image of a further worker; pytest-celery's own has this name with a tag.
WORKER_IMAGE = "pytest-celery/components/worker"


class Recipe:
    """An image that is never run: pytest_docker_tools has one just to fill volumes with files."""

    def argv(self, node: "ProcessContainer") -> list[str]:
        """The command line of the node.

        Raises:
            LookupError: This image cannot be run.
        """
        raise LookupError(f"no recipe runs the image {node.image!r} as a local process")

    def environment(self, node: "ProcessContainer") -> dict[str, str]:
        """What the node is given on top of the inherited environment."""
        return node.environment

    def program(self, argv: list[str]) -> list[str]:
        """The command line that stands for one given to ``exec_run``."""
        return argv


class RedisRecipe(Recipe):
    """A server at the port that the node was given; the command's own program is replaced."""

    def argv(self, node: "ProcessContainer") -> list[str]:
        place = ["--bind", HOST, "--port", str(node.host_ports["6379/tcp"]), "--dir", str(node.home)]
        return [str(server_binary()), *node.command[1:], *place]


class WorkerRecipe(Recipe):
    """A worker in the interpreter of the tests, which can import the node's folder, the package and the rig."""

    def argv(self, node: "ProcessContainer") -> list[str]:
        return [word.replace("%h", node.hostname) for word in self.program(node.command)]

    def environment(self, node: "ProcessContainer") -> dict[str, str]:
        environment = {
            **node.environment,
            # A killed worker cleans nothing up; its temporary files go with the node.
            "TMPDIR": str(node.home),
            "PYTHONPATH": os.pathsep.join([str(node.folder), IMPORTED]),
            # pytest-celery forbids byte code, which is right in an image that is built once; here it would
            # have each worker compile the modules under test again.
            "PYTHONDONTWRITEBYTECODE": "",
        }
        if "COVERAGE_PROCESS_START" in os.environ:
            # The node's folder, where coverage would write, is removed with the node.
            environment["COVERAGE_FILE"] = os.environ.get("COVERAGE_FILE", str(REPOSITORY / ".coverage"))
        return environment

    def program(self, argv: list[str]) -> list[str]:
        if argv[0] == "celery":
            return [sys.executable, "-m", *argv]
        if argv[0] == "python":
            return [sys.executable, *argv[1:]]
        return argv


# A RabbitMQ recipe would be one more line here.
RECIPES: dict[str, Recipe] = {"redis:": RedisRecipe(), WORKER_IMAGE: WorkerRecipe()}


def recipe_for(image: str) -> Recipe:
    """The recipe of the image; if none is known, one that fails only when it is run."""
    return next((recipe for prefix, recipe in RECIPES.items() if image.startswith(prefix)), Recipe())
