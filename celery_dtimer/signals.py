"""Signals of what becomes of an event, as Celery's own: ``event_fired.connect(receiver)``.

The sender is the Celery app. Receivers take keyword arguments, ``def receiver(sender, id, **more)``; more may be added.
All have ``id``, ``queue`` and ``task``, the task's name; each may be None where the process does not know it.
What a receiver raises is logged by Celery, and changes nothing. When and where each is sent: docs/reference/signals.md.
"""

from celery.utils.dispatch import Signal

__all__ = ("event_cancelled", "event_confirmed", "event_fired", "event_parked", "event_posted", "event_released")

#: Stored, by any process. ``due_at``: aware datetime; ``on_conflict``: see ``DTimer.post``.
event_posted = Signal(name="event_posted", providing_args={"id", "queue", "task", "due_at", "on_conflict"})

#: Handed to the worker. ``due_at``; ``lateness``: seconds since then; ``redeliveries`` and ``max_redeliveries``.
event_fired = Signal(
    name="event_fired",
    providing_args={"id", "queue", "task", "due_at", "lateness", "redeliveries", "max_redeliveries"},
)

#: Redis has taken the confirm, and the event is gone. ``due_at``, ``redeliveries``.
event_confirmed = Signal(name="event_confirmed", providing_args={"id", "queue", "task", "due_at", "redeliveries"})

#: Given back. ``counted``: whether that is a redelivery; ``delay``: seconds until it may be claimed again; ``reason``.
event_released = Signal(
    name="event_released",
    providing_args={"id", "queue", "task", "due_at", "redeliveries", "counted", "delay", "reason"},
)

#: Kept aside. ``reason``. A claim that found it redelivered too often does not know ``due_at`` and ``redeliveries``.
event_parked = Signal(name="event_parked", providing_args={"id", "queue", "task", "due_at", "redeliveries", "reason"})

#: Ended by a ``cancel`` in this process. ``due_at``; ``state``: a State, pending or parked until then.
event_cancelled = Signal(name="event_cancelled", providing_args={"id", "queue", "task", "due_at", "state"})
