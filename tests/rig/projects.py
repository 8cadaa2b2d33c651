"""A Celery project for one test: its module, run by workers and loaded by the test alike."""

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from celery import Celery, _state
from celery.backends.redis import RedisBackend

from celery_dtimer.extension import ATTRIBUTE
from celery_dtimer.testing.nodes.engine import Volume
from rig import declared

PROJECT_MODULE = "proj"

#: Environment variable of a worker without the guard.
UNGUARDED = "UNGUARDED"


@dataclass(frozen=True)
class WorkerApp:
    """What a worker is started with (``volume``, ``name``, ``environment``), and the test's own side of it.

    ``module`` has the tasks, ``app`` is the Celery app that sends them.
    """

    volume: Volume
    name: str
    environment: Mapping[str, str]
    app: Celery
    module: ModuleType

    @property
    def folder(self) -> Path:
        """Where workers are started; a module that is put here can be imported by them."""
        return self.volume.path


@contextmanager
def loaded_project(volume: Volume, source: Path, environment: Mapping[str, str]) -> Iterator[WorkerApp]:
    """Put ``source`` into the volume as ``proj.py``, and load it in this process under that very name.

    Behind it comes the guard of declared.py.

    The name decides the names of the tasks, so both sides must agree; and it is loaded afresh for each test,
    since it reads the environment.
    """
    target = volume.path / f"{PROJECT_MODULE}.py"
    guard = f"{Path(declared.__file__).read_text()}\n\ninstall()\n"
    # The guard reads this commit's scripts: a worker of another commit goes without it.
    guarded = f"import os\nif '{UNGUARDED}' not in os.environ:\n    exec({guard!r}, {{'__name__': 'declared'}})\n"
    target.write_text(f"{source.read_text()}\n\n{guarded}")
    spec = importlib.util.spec_from_file_location(PROJECT_MODULE, target)
    module = importlib.util.module_from_spec(spec)
    current = _state._tls.current_app
    # Tasks are shared with every app that is made later, even those made by ``app.task``.
    shared_before = set(_state._on_app_finalizers)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setitem(sys.modules, PROJECT_MODULE, module)
        spec.loader.exec_module(module)
        app = module.app
        try:
            yield WorkerApp(volume, PROJECT_MODULE, environment, app, module)
        finally:
            close_app(app)
            _state._on_app_finalizers.intersection_update(shared_before)
            _forget_tasks()
            _state._tls.current_app = current


def close_app(app: Celery) -> None:
    """Close an app and its timer's connections: what is left to the garbage collection warns, in some later test."""
    extension = getattr(app, ATTRIBUTE, None)
    if extension is not None and extension._shards is not None:
        extension._shards.servers.close()
    # Celery leaves what waits for results to the garbage collector; look, but do not make one.
    backend = getattr(app._local, "backend", None)
    if isinstance(backend, RedisBackend):
        backend.result_consumer.stop()
        backend.client.connection_pool.disconnect()
        # A result that goes later than its app would ask a backend that may be gone.
        backend.remove_pending_result = lambda result: result
    app.close()


def _forget_tasks() -> None:
    """Drop the project's tasks from the other apps of this process: a shared task goes to every one that is final."""
    for app in list(_state._get_active_apps()):
        for name in [name for name in app._tasks if name.startswith(f"{PROJECT_MODULE}.")]:
            del app._tasks[name]
