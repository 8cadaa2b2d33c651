"""The tables."""

from django.db import models


class Order(models.Model):
    """An order."""

    class State(models.TextChoices):
        """What has become of it."""

        OPEN = "open"
        PAID = "paid"
        CANCELLED = "cancelled"

    email = models.EmailField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    created_at = models.DateTimeField(auto_now_add=True)
    #: The task that waits for this order: its reminder, then its end.
    timer_id = models.CharField(max_length=255, blank=True, editable=False)

    def __str__(self) -> str:
        """Return what the admin shows."""
        return f"order {self.pk} of {self.email}"
