"""Orders to a listener, from any thread, a signal's handler or the garbage collector: notes in its mailbox."""

from celery_dtimer.timer.events import Delivery, Verdict
from celery_dtimer.timer.legible import legible
from celery_dtimer.timer.listening.leases import LINGER
from celery_dtimer.timer.listening.mailbox import Mailbox


class Notes:
    """The mailbox of a listener, and the notes that may be put into it."""

    def __init__(self) -> None:
        self._mailbox = Mailbox()
        self.put = self._mailbox.put
        self._patience = LINGER  # that confirms have; 0 while each makes room for a claim

    def pause(self) -> None:
        """Claim nothing from now on; go on renewing and confirming."""
        self.put("pause")

    def resume(self) -> None:
        """Claim again."""
        self.put("resume")

    def wake(self) -> None:
        """Look for events now."""
        self.put("wake")

    def look(self) -> None:
        """There is more room than before: go on with the events left behind, or be woken again."""
        self.put("look")

    def confirm(self, delivery: Delivery, *, ended_well: bool = False) -> None:
        """End the event. Sent within LINGER, with the next round trip, again and again until Redis has answered.

        If it ``ended_well``, its event is ended although another listener may have the lease by now.
        """
        self._mailbox.leave(Verdict(delivery, "end" if ended_well else "confirm"), self._patience)

    def release(
        self,
        delivery: Delivery,
        *,
        backoff_ms: int = 0,
        counted: bool = True,
        reason: str = "released",
        error: str = "",
    ) -> None:
        """Give the event back; ``counted`` unless its task had not started. ``error``: see Verdict."""
        self.put(Verdict(delivery, "release" if counted else "return", backoff_ms, legible(reason), error))

    def leave(self, delivery: Delivery, backoff_ms: int) -> None:
        """Give the event back for others, uncounted: this listener is not the first to claim it again."""
        self.put(Verdict(delivery, "leave", backoff_ms, "left to others"))

    def park(self, delivery: Delivery, reason: str, error: str = "") -> None:
        """Keep the event aside."""
        self.put(Verdict(delivery, "park", reason=legible(reason), error=error))

    def forget(self, delivery: Delivery) -> None:
        """Hold it no longer: Redis has been told."""
        self.put(Verdict(delivery, "forget"))

    def renewed(self, delivery: Delivery) -> None:
        """Hold it for another ``confirm_timeout``: Redis has been told."""
        self.put(Verdict(delivery, "renewed"))
