"""pytest-celery's workers, brokers and backends as local processes in place of containers.

Knows nothing of the timer: any project that has pytest-celery may use it. ``pytest_plugins =
["celery_dtimer.testing.nodes.plugin"]`` in a ``conftest.py`` is all; docs/how-to/pytest-celery.md has the rest.
"""

from celery_dtimer.testing.nodes.engine import ProcessDocker
from celery_dtimer.testing.nodes.recipes import Recipe, RedisRecipe, WorkerRecipe, default_recipes
from celery_dtimer.testing.nodes.waiting import wait_until
from celery_dtimer.testing.nodes.workers import WorkerNode

__all__ = ("ProcessDocker", "Recipe", "RedisRecipe", "WorkerNode", "WorkerRecipe", "default_recipes", "wait_until")
