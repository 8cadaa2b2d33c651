"""The names of the keys of one shard, spelled once.

All keys of a shard share one hash tag, so that a script may touch them together in a Redis Cluster too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from celery_dtimer.timer.options import NAMESPACE
from celery_dtimer.timer.owners import DTIMER, Owner

#: The type of each key, by its name behind the prefix; for the keys of a queue, without the queue's name.
TYPES = {
    "events": "hash",
    "taken": "hash",
    "leased": "hash",
    "deliveries": "zset",
    "parked": "hash",
    "parked_at": "zset",
    "parked_ids": "zset",
    "tags": "zset",
    "damaged": "hash",
    "promise": "hash",
    "polls": "hash",
    "holds": "hash",
    "hold_notes": "hash",
    "bucket": "string",
    "due": "zset",
    "lease": "zset",
    "wake": "list",
    "layout": "string",
    "wait": "string",
}


@dataclass(frozen=True)
class Keys:
    """The key names of one shard of a namespace; ``lua/common.lua`` says what they hold.

    Attributes:
        owner: Owner of the events: the keys of an app have its mark behind the namespace.
        prefix: The beginning of every name: ``{<namespace>:<shard>}:``.
        events: Hash of event id to record.
        promise: Hash of queue to the promised instant.
        damaged: Hash of a record's place to the unreadable record.
        layout: String: the version of all this, and the number of shards. It stays.
        wait: Written for a millisecond, by a post that wrote nothing else and waits for replicas.
        absent: Never written. Every call of a script names it in a cluster: a node whose slot is on its way to another
            turns a command away that names a key which it lacks, and so runs no script on half of its keys.
    """

    namespace: str
    shard: int = 0
    owner: Owner = DTIMER
    prefix: str = field(init=False)
    events: str = field(init=False)
    promise: str = field(init=False)
    damaged: str = field(init=False)
    layout: str = field(init=False)
    wait: str = field(init=False)
    absent: str = field(init=False)

    def __post_init__(self) -> None:
        NAMESPACE.check(self.namespace, self.owner)
        prefix = f"{{{self.namespace}:{self.owner.mark}{self.shard}}}:"
        object.__setattr__(self, "prefix", prefix)
        for name in ("events", "promise", "damaged", "layout", "wait", "absent"):
            object.__setattr__(self, name, prefix + name)

    def named(self, names: Iterable[str], queues: Sequence[str]) -> tuple[str, ...]:
        """The keys of a script: those that its header names, then those of some queues."""
        return _named(self.prefix, tuple(names), tuple(queues))

    def due(self, queue: str) -> str:
        """Sorted set of waiting events to their instants, in milliseconds."""
        return f"{self.prefix}due:{queue}"

    def lease(self, queue: str) -> str:
        """Sorted set of leased events to the instants of their lapse, in milliseconds."""
        return f"{self.prefix}lease:{queue}"

    def wake(self, queue: str) -> str:
        """List of wake tokens: listeners with room block on it."""
        return f"{self.prefix}wake:{queue}"

    def type_of(self, key: str) -> str | None:
        """The type that a key has, or None if none can be told."""
        return TYPES.get(key.removeprefix(self.prefix).partition(":")[0])


@lru_cache(maxsize=512)
def _named(prefix: str, names: tuple[str, ...], queues: tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys of a script, which are the same from call to call."""
    of_queues = (f"{prefix}{name}:{queue}" for queue in queues for name in ("due", "lease", "wake"))
    return (*(prefix + name for name in names), *of_queues)
