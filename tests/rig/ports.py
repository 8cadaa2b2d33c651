"""Ports of the tests' own: those of the published nodes."""

from celery_dtimer.testing.nodes.ports import HOST, free_port, is_open

__all__ = ("HOST", "free_port", "is_open")
