"""The names of the keys of one shard, spelled once.

All keys of a shard share one hash tag, so that a script may touch them together in a Redis Cluster too.
"""

import re
from dataclasses import dataclass, field

from celery_dtimer.errors import SettingsError


@dataclass(frozen=True)
class Keys:
    """The key names of one shard of a namespace.

    Attributes:
        prefix: What every name begins with: ``{<namespace>:<shard>}:``.
        events: Hash of event id to record.
        leased: Hash of lease key to record.
        parked: Hash of event id to record.
        promise: Hash of queue to the promised instant.
        polls: Hash of queue to the listeners' polls of the last seconds; expires after two.
        wait: Written for a millisecond, where a post is to be waited for that wrote nothing.
        shards: String, of shard 0 alone: how many shards the namespace has, unless that is 1.
        absent: Never written. Every call of a script names it in a cluster: a node whose slot is on its way to another
            turns a command away that names a key which it lacks, and so runs no script on half of its keys.
    """

    namespace: str
    shard: int = 0
    prefix: str = field(init=False)
    events: str = field(init=False)
    leased: str = field(init=False)
    parked: str = field(init=False)
    promise: str = field(init=False)
    polls: str = field(init=False)
    wait: str = field(init=False)
    shards: str = field(init=False)
    absent: str = field(init=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^{}:\s]{1,100}", self.namespace):
            raise SettingsError(
                "dtimer_namespace is a name of 1 to 100 characters without braces, colons and white space, "
                f"not {self.namespace!r}",
                setting="dtimer_namespace",
                value=self.namespace,
            )
        prefix = f"{{{self.namespace}:{self.shard}}}:"
        object.__setattr__(self, "prefix", prefix)
        for name in ("events", "leased", "parked", "promise", "polls", "wait", "shards", "absent"):
            object.__setattr__(self, name, prefix + name)

    def due(self, queue: str) -> str:
        """Sorted set of event id to due instant, in milliseconds."""
        return f"{self.prefix}due:{queue}"

    def lease(self, queue: str) -> str:
        """Sorted set of lease key to the instant of its lapse, in milliseconds."""
        return f"{self.prefix}lease:{queue}"

    def wake(self, queue: str) -> str:
        """List of wake tokens: listeners with room block on it."""
        return f"{self.prefix}wake:{queue}"
