"""What pytest_docker_tools assumes about containers and is not so for processes."""

import time
from collections.abc import Callable
from importlib import import_module

import pytest
from pytest_docker_tools.exceptions import TimeoutError as DockerToolsTimeoutError

from celery_dtimer.testing.nodes.engine import ProcessDocker
from celery_dtimer.testing.nodes.waiting import growing_pauses

#: The engine of a run of pytest, once a test has asked for it.
running_docker = pytest.StashKey[ProcessDocker]()

WRAPPER = "pytest_docker_tools.wrappers.container"
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


def adapt(patch: pytest.MonkeyPatch) -> None:
    """Look often, and always reach nodes at the loopback address.

    A machine of the CI may be a container itself, and then nodes would be sought at the address of a bridge.
    """
    for module in WAITING_MODULES:
        patch.setattr(import_module(module), "wait_for_callable", wait_for_callable)
    patch.setattr(import_module(WRAPPER), "tests_inside_container", lambda: False)
