"""What of a shard is held, and is not claimed: queues, and kinds of events; and who holds it, and why."""

from collections.abc import Iterator

from celery_dtimer.timer.events import Hold
from celery_dtimer.timer.storing.calls import Calls, text_of
from celery_dtimer.timer.storing.failures import unavailable_named
from celery_dtimer.timer.times import ms_to_datetime

#: Events that a resume takes back in one call: long enough to be cheap, short enough not to hold Redis up.
TAKEN_BACK = 500

#: The answers of a hold.
NO_PLACE, HELD, HELD_BEFORE = 0, 1, 2


class Holds(Calls):
    """The holds of one shard."""

    def hold(self, queue: str, by: str = "", why: str = "") -> int:
        """Let nothing of a queue be claimed any more; returns HELD or HELD_BEFORE."""
        reply: int = self.ask(self.call("hold", [queue], "hold", "", 0, by, why))
        return reply

    def resume(self, queue: str) -> bool:
        """Let it be claimed again; False if it was not held."""
        return bool(self.ask(self.call("hold", [queue], "resume", "", 0, "", "")))

    def hold_kind(self, kind: str | bytes, by: str = "", why: str = "") -> int:
        """Let claims set aside what is of a kind; returns HELD, HELD_BEFORE, or NO_PLACE if too many are held."""
        reply: int = self.ask(self.call("hold", [], "hold_kind", kind, 0, by, why))
        return reply

    def resume_kind(self, kind: str | bytes) -> bool:
        """Let it be claimed again, and take back what was set aside, in bounded batches; False if it was not held.

        One that is interrupted is listed as not complete, and goes on where it is done again.
        """
        if not self.ask(self.call("hold", [], "resume_kind", kind, 0, "", "")):
            return False
        for queues in self.queues("hold"):
            while self.ask(self.call("hold", queues, "take_back", kind, TAKEN_BACK, "", "")) == TAKEN_BACK:
                pass
        self.ask(self.call("hold", [], "forget_kind", kind, 0, "", ""))
        return True

    def holds(self) -> Iterator[Hold]:
        """Go through what is held."""
        with unavailable_named("list of holds"):
            self.check_layout()
            notes = dict(self._plain("HGETALL", self.keys.prefix + "hold_notes"))
            holds = dict(self._plain("HGETALL", self.keys.prefix + "holds"))
        for field, value in holds.items():
            what, _, name = field.partition(b" ")
            if what not in (b"queue", b"kind"):
                continue
            facts, _, why = notes.get(field, b"0 ").partition(b"\n")
            since_ms, _, by = facts.partition(b" ")
            yield Hold(
                what="queue" if what == b"queue" else "kind",
                name=text_of(name)[0],
                by=text_of(by)[0],
                why=text_of(why)[0],
                since=ms_to_datetime(int(since_ms) if since_ms.isdigit() else 0),
                complete=not value.startswith(b"-"),
            )
