"""Processes that end with the tests: those of the published nodes."""

from celery_dtimer.testing.nodes.processes import GRACE, NodeProcess, gone

__all__ = ("GRACE", "NodeProcess", "gone")
