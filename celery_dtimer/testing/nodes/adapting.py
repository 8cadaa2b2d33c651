"""What pytest_docker_tools and pytest-celery assume about containers, or about objects, and is not so here."""

import gc
import time
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from celery.result import AsyncResult
from pytest_docker_tools.exceptions import TimeoutError as DockerToolsTimeoutError

from celery_dtimer.testing.nodes.engine import ProcessDocker
from celery_dtimer.testing.nodes.waiting import growing_pauses

#: The engine of a run of pytest, once a test has asked for it.
running_docker = pytest.StashKey[ProcessDocker]()

WRAPPER = "pytest_docker_tools.wrappers.container"
BACKEND = "pytest_celery.vendors.redis.backend.api"
WAITING_MODULES = [
    WRAPPER,
    "pytest_docker_tools.factories.container",
    "pytest_celery.api.base",
    "pytest_celery.api.container",
]


def wait_for_callable(message: str, func: Callable[[], object], timeout: float = 30) -> None:
    """Stands in for the function of this name that looks once a second; a process is ready in far less.

    Raises:
        DockerToolsTimeoutError: ``func`` answered nothing true for ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    for pause in growing_pauses():
        if func():
            return
        if time.monotonic() >= end:
            raise DockerToolsTimeoutError(f"{message}: waited {timeout:g} s in vain")
        time.sleep(pause)


def living_results() -> list[Any]:
    """Return all results of tasks, asking no other object what it is: Django's lazy ones need settings to answer."""
    return [each for each in gc.get_objects() if issubclass(type(each), AsyncResult)]


def adapt(patch: pytest.MonkeyPatch) -> None:
    """Look often, always reach nodes at the loopback address, and look for results among results.

    A machine of the CI may be a container itself, and then nodes would be sought at the address of a bridge.
    """
    for module in WAITING_MODULES:
        patch.setattr(import_module(module), "wait_for_callable", wait_for_callable)
    patch.setattr(import_module(WRAPPER), "tests_inside_container", lambda: False)
    patch.setattr(import_module(BACKEND), "gc", SimpleNamespace(collect=gc.collect, get_objects=living_results))
