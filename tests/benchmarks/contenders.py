"""Who is measured beside whom: the other delayed queues, ourselves, and Celery without us. See beside.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field

#: What pip installs for a peer; the first is the one whose version is told. saq imports typing_extensions, and does not
#: ask for it. celery-redis-plus has no script here yet: it needs Python 3.13, and is tried so that this is told.
PYTHON: Mapping[str, tuple[str, ...]] = {
    "streaq": ("streaq",),  # what takes longest comes first
    "docket": ("pydocket",),
    "taskiq": ("taskiq", "taskiq-redis"),
    "arq": ("arq",),
    "rq": ("rq",),
    "saq": ("saq[redis]", "typing_extensions"),
    "huey": ("huey", "redis"),
    "dramatiq": ("dramatiq[redis]",),
    "celery-redis-plus": ("celery-redis-plus",),
}

#: What npm installs; BullMQ leaves the choice of a client to its users, and ioredis is what it tells them to take.
NODE: Mapping[str, tuple[str, ...]] = {"dtimer": ("dtimer",), "bullmq": ("bullmq", "ioredis")}

#: Those of PYTHON that nothing here measures.
WITHOUT_SCRIPT = ("celery-redis-plus",)


@dataclass(frozen=True)
class Contender:
    """One queue with one choice of its settings.

    Attributes:
        name: As it stands in the report; its first word is its family, which posts are measured of once.
        script: The file in peers/.
        settings: Environment of the script: PEER_CONCURRENCY and the like.
        note: What the settings are, for the report.
        peer: What has to be installed for it; "" for ourselves, who are in the environment that measures.
        events: Jobs whose lateness is measured, at most: as many as a worker can run while they come due.
        due: Jobs that a worker drains, all due at one instant.
        rounds: Drains, each by a worker of its own.
        pending: Jobs whose memory is measured.
        late_only: It differs from the one of its family in how often it looks: lateness and idle commands.
    """

    name: str
    script: str
    settings: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    peer: str = ""
    due: int = 2000
    events: int = 1000
    rounds: int = 1
    pending: int = 3000
    late_only: bool = False

    @property
    def family(self) -> str:
        """The name without what is set: posts are the same for all of a family."""
        return self.name if self.name == ALONE else self.name.split()[0]

    @property
    def leads(self) -> bool:
        """Whether it is the one of its family whose posts and memory are measured."""
        return self.name == self.family


#: The timer without Celery.
ALONE = "celery-dtimer alone"


def _celery(name: str, pool: str, concurrency: int, timer: str, note: str, pending: int) -> Contender:
    settings = {"PEER_POOL": pool, "PEER_CONCURRENCY": str(concurrency), "PEER_TIMER": timer}
    return Contender(name, "celery_peer.py", settings, note, pending=pending)


def _often(family: str, note: str) -> Contender:
    return Contender(f"{family} 10 ms", f"{family}_peer.py", {"PEER_POLL": "0.01"}, note, family, late_only=True)


_OURS, _NATIVE = "a worker {}, post_in and post_many", "a worker {}, apply_async(countdown) and group"

#: In this order, so that what targets are about comes first, should the time run out.
CONTENDERS = (
    Contender(
        ALONE, "timer_peer.py", {"PEER_CONCURRENCY": "256"}, "max_events 256, all confirmed", due=10_000, rounds=5
    ),
    Contender(
        "dtimer",
        "dtimer_peer.mjs",
        {"PEER_CONCURRENCY": "256"},
        "maxEvents 256, all confirmed; bulk: 500 posts at once, for it has no batches",
        "dtimer",
        due=10_000,
        rounds=5,
    ),
    Contender(
        "bullmq", "bullmq_peer.mjs", {"PEER_CONCURRENCY": "50"}, "concurrency 50", "bullmq", due=10_000, rounds=5
    ),
    _celery("celery-dtimer", "prefork", 2, "1", _OURS.format("with prefork 2"), 3000),
    _celery("celery", "prefork", 2, "0", _NATIVE.format("with prefork 2"), 1200),
    _celery("celery-dtimer threads", "threads", 8, "1", _OURS.format("with threads 8"), 3000),
    _celery("celery threads", "threads", 8, "0", _NATIVE.format("with threads 8"), 1200),
    Contender("dtimer 8", "dtimer_peer.mjs", {"PEER_CONCURRENCY": "8"}, "maxEvents 8, its default", "dtimer"),
    Contender("bullmq 1", "bullmq_peer.mjs", {"PEER_CONCURRENCY": "1"}, "concurrency 1, its default", "bullmq"),
    Contender("huey", "huey_peer.py", {}, "8 threads; looks each second, which is the least it can be told", "huey"),
    Contender("dramatiq", "dramatiq_peer.py", {}, "2 processes with 8 threads, its default on two cores", "dramatiq"),
    _often("dramatiq", "dramatiq_worker_timeout 10 ms (default 1000)"),
    Contender("saq", "saq_peer.py", {}, "concurrency 10; looks each second: its timers are whole seconds", "saq"),
    Contender("streaq", "streaq_peer.py", {}, "concurrency 16; looks each half second, which can't be set", "streaq"),
    Contender("arq", "arq_peer.py", {}, "max_jobs 10; looks each half second", "arq", due=600),
    _often("arq", "poll_delay 10 ms (default 500)"),
    Contender(
        "docket", "docket_peer.py", {}, "concurrency 10; looks each quarter of a second", "docket", due=400, events=40
    ),
    _often("docket", "scheduling_resolution and minimum_check_interval 10 ms (default 250)"),
    Contender(
        "taskiq",
        "taskiq_peer.py",
        {},
        "2 processes; the scheduler looks each second, the least it can be told (default: each minute)",
        "taskiq",
        due=600,
    ),
    Contender(
        "rq", "rq_peer.py", {}, "a SimpleWorker, which does not fork for each job; looks each second", "rq", due=400
    ),
)

#: What --quick measures.
QUICK = (ALONE, "dtimer", "bullmq", "celery-dtimer", "celery", "huey")
