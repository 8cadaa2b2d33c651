"""The engine: a stand-in for ``docker.DockerClient`` whose containers are local processes.

pytest-celery makes every node by a factory of pytest_docker_tools, and each of those is given the fixture
``docker_client``. So this is the one seam at which its workers, brokers and backends become processes, and
nothing of pytest-celery itself has to be replaced. Only what those two packages call is here.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from docker.errors import NotFound

from celery_dtimer.testing.nodes.containers import ProcessContainer
from celery_dtimer.testing.nodes.recipes import Recipe, default_recipes, recipe_for


class Volume:
    """A folder."""

    def __init__(self, owner: "Volumes", name: str, path: Path) -> None:
        self.name = self.id = name
        self.path = path
        self.attrs: dict[str, Any] = {"Labels": {}}
        self._owner = owner

    def remove(self, *_arguments: object) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._owner.forget(self)


class Volumes:
    """``docker_client.volumes``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._volumes: dict[str, Volume] = {}

    def create(self, name: str, **_options: object) -> Volume:
        """Make an empty folder."""
        made = Volume(self, name, Path(tempfile.mkdtemp(prefix="volume-", dir=self._root)))
        self._volumes[name] = made
        return made

    def get(self, name: str) -> Volume:
        """The volume of that name.

        Raises:
            NotFound: There is none.
        """
        try:
            return self._volumes[name]
        except KeyError:
            raise NotFound(f"no volume {name}") from None

    def forget(self, volume: Volume) -> None:
        """A removed volume takes itself off the list."""
        self._volumes.pop(volume.name, None)


class Network:
    """A name; all nodes share the loopback interface."""

    def __init__(self, name: str) -> None:
        self.name = self.id = name
        self.attrs: dict[str, Any] = {"Labels": {}}

    def remove(self) -> None:
        """There is nothing to take down."""


class Networks:
    """``docker_client.networks``."""

    def create(self, name: str, **_options: object) -> Network:
        """Only the name is of use."""
        return Network(name)


class Image(NamedTuple):
    """Its name, from which the recipe is found."""

    id: str


class Images:
    """``docker_client.images``: names and nothing more."""

    def build(self, path: str, tag: str | None = None, **_options: object) -> tuple[Image, Iterator[object]]:
        """Nothing is built: the interpreter of the tests has all that a Dockerfile would install."""
        return Image(tag or Path(path).name), iter(())

    def get(self, name: str) -> Image:
        """Every name is an image; what has no recipe fails when it is started."""
        return Image(name)

    def pull(self, repository: str, tag: str | None = None, **_options: object) -> Image:
        """Nothing is fetched."""
        return Image(repository if tag is None else f"{repository}:{tag}")


class Containers:
    """``docker_client.containers``."""

    def __init__(self, client: "ProcessDocker") -> None:
        self._client = client
        self._containers: list[ProcessContainer] = []

    def create(self, image: str | Image, **options: Any) -> ProcessContainer:
        """Make a node without starting it."""
        image = image.id if isinstance(image, Image) else image
        # A bind target such as /app is no path of this machine: the volume's folder is where the node works.
        bound = [self._client.volumes.get(volume).path for volume in options.pop("volumes", None) or ()]
        made = ProcessContainer(
            image,
            recipe_for(image, self._client.recipes),
            home=Path(tempfile.mkdtemp(prefix="node-", dir=self._client.root)),
            folder=bound[-1] if bound else None,
            forget=self.forget,
            **options,
        )
        self._containers.append(made)
        return made

    def run(self, image: str | Image, **options: Any) -> ProcessContainer:
        """Make a node and start it."""
        options.pop("detach", None)
        made = self.create(image, **options)
        made.start()
        return made

    def list(self, **_options: object) -> list[ProcessContainer]:
        """All nodes that were not removed, in the order in which they were made."""
        return list(self._containers)

    def get(self, name: str) -> ProcessContainer:
        """The node of that name.

        Raises:
            NotFound: There is none.
        """
        for container in self._containers:
            if container.name == name:
                return container
        raise NotFound(f"no container {name}")

    def forget(self, container: ProcessContainer) -> None:
        """A removed node takes itself off the list."""
        if container in self._containers:
            self._containers.remove(container)


class ProcessDocker:
    """The client itself; closing it ends every node that is left and removes all folders.

    Args:
        recipes: How images run here, by the beginnings of their names.
    """

    def __init__(self, recipes: Mapping[str, Recipe] | None = None) -> None:
        self.recipes = default_recipes() if recipes is None else recipes
        self.root = Path(tempfile.mkdtemp(prefix="nodes-"))
        self.images = Images()
        self.volumes = Volumes(self.root)
        self.networks = Networks()
        self.containers = Containers(self)

    def close(self) -> None:
        """End, reap and remove all that is left."""
        for container in self.containers.list():
            container.remove(force=True)
        shutil.rmtree(self.root, ignore_errors=True)
