"""Waiting in place of sleeping: that of the published nodes."""

from celery_dtimer.testing.nodes.waiting import growing_pauses, wait_until

__all__ = ("growing_pauses", "wait_until")
