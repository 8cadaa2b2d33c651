"""What becomes of an event, by what became of its task: the table that the suite checks and the docs show."""

from dataclasses import dataclass, field

from celery import Task
from rig.pools import POOLS

#: The table is that of the newest Celery. Some things were different before it had these two options.
NEWEST = hasattr(Task, "acks_on_failure")

#: What can become of an event.
AT_START = "confirmed at its start"
AT_END = "confirmed at its end"
NOT_RUN = "confirmed, not run"
RELEASED = "released, redelivered"
RETURNED = "given back, not counted"
LAPSED = "lapsed, redelivered"
PARKED = "parked"
ANEW = "posted anew, confirmed"
LEFT = "left pending"

#: Why Celery itself makes a difference between the pools.
NO_SOFT_LIMIT = "Celery has soft time limits in prefork only: the task runs to its end"
NO_HARD_LIMIT = "Celery has time limits in prefork and gevent only: the task runs to its end"
NO_TERMINATE = "Celery can terminate a task in prefork, gevent and eventlet only: the task runs to its end"
LATE_ACK = (
    "In solo, Celery sends an early acknowledgement when the task has ended: the task blocks the loop that sends it"
)
NO_CANCEL = "Celery can't cancel a task in threads and solo: what runs comes to its end"
NO_SOFT_SHUTDOWN = (
    NO_CANCEL + "; in gevent and eventlet its soft shutdown fails where the signal "
    "interrupts the event loop, in which it may not sleep"
)
NO_CANCEL_TWICE = NO_CANCEL + "; in threads that may be after its event was released, and it runs again"
ONE_PROCESS = "The task runs in the worker's own process, and takes the whole worker with it"


@dataclass(frozen=True)
class Row:
    """One outcome.

    Attributes:
        name: What became of the task, as the docs say it.
        variant: A task of ``apps/outcomes.py``, by its options; None for what has no task of its own.
        deed: What the task does, with arguments.
        options: Of ``post``.
        expected: What becomes of the event.
        but: Pools in which something else becomes of it.
        why: Footnotes for these pools.
        older: Pools in which something else becomes of it with an older Celery.
    """

    name: str
    variant: str | None
    expected: str
    deed: tuple = ()
    options: dict = field(default_factory=dict)
    but: dict = field(default_factory=dict)
    why: str = ""
    older: dict = field(default_factory=dict)

    def in_pool(self, pool):
        return self.but.get(pool, self.expected)

    def here(self, pool):
        return self.in_pool(pool) if NEWEST else self.older.get(pool, self.in_pool(pool))

    def is_cut_short(self, pool):
        """Whether Celery, in this pool, can keep the task from coming to its own end."""
        if "soft_time_limit" in self.options:
            return pool == "prefork"
        if "time_limit" in self.options:
            return pool in ("prefork", "gevent")
        return self.name.startswith("terminated") and pool in ("prefork", "gevent", "eventlet")


THREADED = ("threads", "solo")
GREEN = ("gevent", "eventlet")


def but(outcome, *pools):
    return dict.fromkeys(pools, outcome)


def early(name, *more):
    return Row(
        name,
        "early",
        AT_START,
        *more,
        but=but(AT_END, "solo"),
        why=LATE_ACK,
    )


# Long enough for a look at the event on a busy machine, and less than the task takes.
SOFT, HARD = {"soft_time_limit": 0.9}, {"time_limit": 0.9}
SPIN = ("spin", 1.9)


#: Run concurrently, by one worker of each pool whose leases last a minute: what is redelivered was released.
ROWS = (
    early("returns, acknowledged early"),
    Row("returns, acks_late", "late", AT_END),
    early("raises, acknowledged early", ("fail",)),
    Row("raises, acks_late", "late", AT_END, ("fail",)),
    Row("raises, acks_late, acks_on_failure_or_timeout = False", "late_kept", PARKED, ("fail",)),
    Row(
        "raises, acks_late, acks_on_failure = False",
        "late_kept_on_failure",
        PARKED,
        ("fail",),
        older=but(AT_END, *POOLS),
    ),
    Row("raises, acks_late, acks_on_timeout = False", "late_kept_on_timeout", AT_END, ("fail",)),
    early("Reject(requeue=True), acknowledged early", ("reject", True)),
    Row("Reject(requeue=True), acks_late", "late", RELEASED, ("reject", True)),
    early("Reject(requeue=False), acknowledged early", ("reject", False)),
    Row("Reject(requeue=False), acks_late", "late", PARKED, ("reject", False)),
    early("Ignore, acknowledged early", ("ignore",)),
    Row("Ignore, acks_late", "late", AT_END, ("ignore",)),
    Row("retry, acknowledged early", "early", ANEW, ("retry", 0.5)),
    Row("retry, acks_late", "late", ANEW, ("retry", 0.5)),
    early("soft time limit, acknowledged early", SPIN, SOFT),
    Row("soft time limit, acks_late", "late", AT_END, SPIN, SOFT, why=NO_SOFT_LIMIT),
    Row(
        "soft time limit, acks_late, acks_on_failure_or_timeout = False",
        "late_kept",
        PARKED,
        SPIN,
        SOFT,
        but(AT_END, *THREADED, *GREEN),
        NO_SOFT_LIMIT,
    ),
    early("time limit, acknowledged early", SPIN, HARD),
    Row("time limit, acks_late", "late", AT_END, SPIN, HARD, why=NO_HARD_LIMIT),
    *(
        Row(
            f"time limit, acks_late, {setting} = False",
            variant,
            RELEASED,
            SPIN,
            HARD,
            but(AT_END, *THREADED, "eventlet"),
            NO_HARD_LIMIT,
            older,
        )
        for setting, variant, older in (
            ("acks_on_failure_or_timeout", "late_kept", {}),
            ("acks_on_timeout", "late_kept_on_timeout", but(AT_END, *POOLS)),
        )
    ),
    Row(
        "time limit, acks_late, acks_on_failure = False", "late_kept_on_failure", AT_END, SPIN, HARD, why=NO_HARD_LIMIT
    ),
    Row("revoked by its id", "late", NOT_RUN),
    Row("revoked by a stamp", "late", NOT_RUN, (), {"stamped_headers": ["cell"], "cell": "revoked"}),
    Row("expired", "late", NOT_RUN, (), {"expires": 0.1}),
    early("terminated, acknowledged early", ("spin", 3)),
    Row("terminated, acks_late", "late", AT_END, ("spin", 3), why=NO_TERMINATE),
    Row(
        "terminated by a stamp, acks_late",
        "late",
        AT_END,
        ("spin", 3),
        {"stamped_headers": ["cell"], "cell": "terminated"},
        why=NO_TERMINATE,
    ),
    Row("task that no worker has known for an hour", None, PARKED),
    Row("bytes that are no message", None, PARKED),
    Row("a body that can't be decoded", None, PARKED),
    Row("a body that is no task call", None, PARKED),
    Row("a content type that is not accepted", "late", PARKED, (), {"serializer": "pickle"}),
    early("SystemExit, acknowledged early", ("leave",)),
    Row("SystemExit, acks_late", "late", AT_END, ("leave",)),
    Row(
        "SystemExit, acks_late, reject_on_worker_lost", "late_lost", RELEASED, ("leave",), older=but(AT_END, "prefork")
    ),
    Row("add_consumer, then posted to its queue", "late", AT_END, (), {"queue": "added"}),
    Row("cancel_consumer, then posted to its queue", "late", LEFT, (), {"queue": "cancelled"}),
)

#: Run one after the other, since most of them take their worker with them. Its leases last a second.
LOSSES = (
    Row("process lost, acknowledged early", "early", AT_START, ("lose",), {}, but(LAPSED, "solo"), LATE_ACK),
    Row("process lost, acks_late", "late", AT_END, ("lose",), {}, but(LAPSED, *THREADED, *GREEN), ONE_PROCESS),
    Row(
        "process lost, acks_late, reject_on_worker_lost",
        "late_lost",
        RELEASED,
        ("lose",),
        {},
        but(LAPSED, *THREADED, *GREEN),
        ONE_PROCESS,
    ),
)

#: Run beside each other in a worker whose leases last a second.
LONG = (
    Row("runs longer than the confirm timeout, acks_late", "late", AT_END, ("spin", 2.5)),
    Row(
        "waits longer than that for its rate limit, acknowledged early",
        "early_limited",
        AT_START,
        (),
        {},
        but(AT_END, "solo"),
        LATE_ACK,
    ),
    Row("waits longer than that for its rate limit, acks_late", "late_limited", AT_END),
)


@dataclass(frozen=True)
class Shutdown:
    """A way to end a worker, and what becomes of the events of a task that runs then, and of one that waits.

    Attributes:
        signals: The names of the signals, one after the other; none: by remote control.
        soft: worker_soft_shutdown_timeout, in seconds.
        seconds: How long the task runs.
    """

    name: str
    signals: tuple
    soft: float
    seconds: float
    running: Row
    waiting: Row


def shutdown(name, signals, running, *, soft=0, seconds=1.5, uncancelled=None, why=""):
    return Shutdown(
        name,
        signals,
        soft,
        seconds,
        Row(f"{name}: a task that runs, acks_late", "late", running, but=uncancelled or {}, why=uncancelled and why),
        Row(f"{name}: a task that waits in the worker", "late_slow", RETURNED),
    )


SHUTDOWNS = (
    shutdown("warm shutdown", ("SIGTERM",), AT_END),
    shutdown("shutdown by remote control", (), AT_END),
    shutdown("soft shutdown that is long enough", ("SIGQUIT",), AT_END, soft=4),
    shutdown(
        "soft shutdown that is too short",
        ("SIGQUIT",),
        RELEASED,
        soft=1,
        seconds=3,
        uncancelled={**but(AT_END, *THREADED), **but(f"{RELEASED} or {AT_END}", *GREEN)},
        why=NO_SOFT_SHUTDOWN,
    ),
    shutdown(
        "cold shutdown",
        ("SIGQUIT",),
        RELEASED,
        seconds=3,
        uncancelled={"threads": f"{RELEASED} or {AT_END}", "solo": AT_END},
        why=NO_CANCEL_TWICE,
    ),
    shutdown(
        "warm shutdown, then a cold one",
        ("SIGINT", "SIGINT"),
        RELEASED,
        seconds=3,
        uncancelled={"threads": f"{RELEASED} or {AT_END}", "solo": AT_END},
        why=NO_CANCEL_TWICE,
    ),
)

BY_NAME = {
    row.name: row for row in (*ROWS, *LOSSES, *LONG, *(row for way in SHUTDOWNS for row in (way.running, way.waiting)))
}


def table(pools=POOLS):
    """Return the table as the docs show it."""
    notes = []
    lines = ["| the task | " + " | ".join(pools) + " |", "|---" * (len(pools) + 1) + "|"]
    for row in BY_NAME.values():
        mark = ""
        if row.why:
            if row.why not in notes:
                notes.append(row.why)
            mark = f" ({notes.index(row.why) + 1})"
        lines.append(f"| {row.name}{mark} | " + " | ".join(row.in_pool(pool) for pool in pools) + " |")
    lines += ["", *(f"{number}. {note}." for number, note in enumerate(notes, 1))]
    return "\n".join(lines)
