"""Every option of the timer, once: its default, its unit, its bounds and the error for a wrong value.

A ``DTimer`` has some of them as arguments, an app has them as ``dtimer_*`` settings.
"""

import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, get_args

from celery_dtimer.errors import InvalidEventError, SettingsError
from celery_dtimer.timer.owners import APP, DTIMER, Owner
from celery_dtimer.timer.shown import wrong
from celery_dtimer.timer.times import seconds_of

#: Reaction to a Redis that may evict the timer's keys.
EvictionCheck = Literal["ignore", "warn", "error"]

#: Largest count, unless an option says otherwise.
MAX_COUNT = 2**31 - 1

#: Bounds of a rate, in events a second.
LEAST_RATE, MOST_RATE = 0.001, 1e6


@dataclass(frozen=True)
class Option:
    """An option, or another argument that is checked in the same way.

    Attributes:
        name: Its name as an argument.
        default: Its value if it is not set.
        unit: Unit of its values, as docs/reference/settings.md names it.
        wanted: Description of right values, for the error.
        read: Returns the value to be used; None for a wrong one.
    """

    name: str
    default: Any
    unit: str
    wanted: str
    read: Callable[[Any], Any]

    def check(self, value: Any, owner: Owner = DTIMER) -> Any:
        """Return the value to be used.

        Raises:
            InvalidEventError: It is a wrong argument.
            SettingsError: It is a wrong setting, or a wrong namespace.
        """
        checked = self.read(value)
        if checked is None:
            raise self.refusal(value, owner)
        return checked

    def refusal(self, value: Any, owner: Owner = DTIMER) -> InvalidEventError | SettingsError:
        """Return the error for a wrong value."""
        refusal = wrong(owner.named(self.name), self.wanted, value)
        if owner is APP or self is NAMESPACE:
            return SettingsError(str(refusal), setting=refusal.argument, value=value)
        return refusal


def count(name: str, default: int | None, unit: str = "", *, least: int = 0, most: int = MAX_COUNT) -> Option:
    """Make an option whose values are whole numbers between bounds."""

    def read(value: Any) -> int | None:
        return value if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most else None

    upwards = "on" if most == MAX_COUNT else f"to {most}"
    return Option(name, default, unit, f"a whole number from {least} {upwards}", read)


def seconds(name: str, default: float | None, *, least: float = 0.0, most: float = math.inf) -> Option:
    """Make an option whose values are numbers of seconds of any type, or timedeltas, between bounds; read as floats."""

    def read(value: Any) -> float | None:
        found = seconds_of(value)
        return found if found is not None and least <= found <= most and found < sys.float_info.max else None

    upwards = "or more" if most == math.inf else f"to {most:g} s"
    return Option(name, default, "seconds", f"a finite number of seconds or a timedelta, {least:g} s {upwards}", read)


def rate(name: str, default: float | None, unit: str = "") -> Option:
    """Make an option whose values are numbers of events a second."""

    def read(value: Any) -> float | None:
        found = None if isinstance(value, bool | timedelta) else seconds_of(value)
        return found if found is not None and LEAST_RATE <= found <= MOST_RATE else None

    return Option(name, default, unit, f"a number of events a second, {LEAST_RATE:g} to {MOST_RATE:g}, or None", read)


def choice(name: str, default: str, words: tuple[str, ...]) -> Option:
    """Make an option whose values are some words."""
    return Option(
        name, default, "", f"one of {', '.join(words)}", lambda v: v if isinstance(v, str) and v in words else None
    )


def text(name: str, most: int, *, least: int = 1) -> Option:
    """Make an argument whose values are texts of ``least`` to ``most`` bytes of UTF-8."""

    def read(value: Any) -> str | None:
        try:
            return value if isinstance(value, str) and least <= len(value.encode()) <= most else None
        except UnicodeEncodeError:
            return None  # half a surrogate pair has no UTF-8

    return Option(name, None, "", f"a string of {least} to {most} bytes of UTF-8", read)


def _read_namespace(value: Any) -> str | None:
    is_name = isinstance(value, str) and re.fullmatch(r"[^{}:\s\ud800-\udfff]{1,100}", value)
    return value if is_name else None


def _read_aliases(value: Any) -> dict[str, str] | None:
    if not isinstance(value, Mapping):
        return None
    aliases = dict(value)
    if not all(isinstance(name, str) and name for pair in aliases.items() for name in pair):
        return None
    return aliases if all(old not in names_behind(old, aliases) for old in aliases) else None


def names_behind(name: str, aliases: Mapping[str, str]) -> list[str]:
    """Return the names that one leads to; one that was there already is the last of them."""
    names: list[str] = []
    while name in aliases and aliases[name] not in names:
        name = aliases[name]
        names.append(name)
    return names


NAMESPACE = Option(
    "namespace",
    "dt",
    "",
    "a name of 1 to 100 characters without braces, colons and white space",
    _read_namespace,
)

#: None: the prefetch count of a worker; a DTimer has a default of its own.
MAX_EVENTS = count("max_events", None, "events", least=1)

#: Shorter leases would cost more round trips than runs.
CONFIRM_TIMEOUT = seconds("confirm_timeout", 10.0, least=0.1, most=365 * 86_400.0)

#: A promise whose holder died is noticed by the next poll.
POLL_INTERVAL = seconds("poll_interval", 1.0, least=0.1, most=60.0)

MAX_REDELIVERIES = count("max_redeliveries", 20, "times")

#: None: posts only. For apps alone.
TAKEOVER = seconds("takeover", None)

#: A listener has a connection for each shard, and looks at all of them whenever it wakes: with 64, an idle one takes
#: 6 % of a processor; with 256 it took 31 %, and events were 8 ms late at the median.
SHARDS = count("shards", 1, "shards", least=1, most=64)

#: A Redis value may be larger, but a timer's should not.
MAX_PAYLOAD = count("max_payload", 512 * 1024, "bytes", least=1)

WAIT_REPLICAS = count("wait_replicas", 0, "replicas")

#: The answer must come within a connection's own timeout of 5 s.
WAIT_TIMEOUT = seconds("wait_timeout", 1.0, least=0.001, most=4.0)

EVICTION_CHECK = choice("eviction_check", "warn", get_args(EvictionCheck))

#: For apps alone.
UNKNOWN_TASK_PATIENCE = seconds("unknown_task_patience", 3600.0)

#: Old name of a task -> its new one. For apps alone.
TASK_ALIASES = Option(
    "task_aliases",
    None,
    "",
    "a dict of old names of tasks to new ones, none of which leads back to itself",
    _read_aliases,
)

#: What is done with an event that is too late when its worker could start it. For apps alone.
MISFIRE = choice("misfire", "fire", ("fire", "drop", "park"))

#: So much later than its time is too late. For apps alone; a task's own option has another name.
MISFIRE_GRACE = seconds("misfire_grace", 60.0)
GRACE = replace(MISFIRE_GRACE, name="grace")

#: None: what is parked is kept. The longest is some hundred years. For apps alone.
PARKED_TTL = seconds("parked_ttl", None, least=1.0, most=36_500 * 86_400.0)
#: Of what is long overdue, all listeners together claim so much; None: as fast as they can.
CATCH_UP_RATE = rate("catch_up_rate", None, "events/second")
GIVEN_RATE = replace(CATCH_UP_RATE, name="rate")

#: Overdue by more is long overdue. A healthy fleet is not late by seconds, and what is due now must not be limited.
CATCH_UP_AFTER = seconds("catch_up_after", 10.0, least=1.0, most=365 * 86_400.0)
GIVEN_AFTER = replace(CATCH_UP_AFTER, name="after")

#: None: no metrics are served. For apps alone.
METRICS_PORT = count("metrics_port", None, "port", least=1, most=65_535)

#: For apps alone.
METRICS_HOST = Option(
    "metrics_host",
    "127.0.0.1",
    "",
    "a host name or an address of this host",
    lambda v: (isinstance(v, str) and v) or None,
)


def _read_mask(value: Any) -> Any:
    if callable(value):
        return value
    if not isinstance(value, list | tuple | set | frozenset) or not all(isinstance(name, str) for name in value):
        return None
    return tuple(value)


#: Whose arguments the console does not show. For apps alone.
WEB_MASK = Option("web_mask", None, "", "a list of names of tasks, which may have * in them, or a callable", _read_mask)

OPTIONS = {
    option.name: option
    for option in (
        *(NAMESPACE, MAX_EVENTS, CONFIRM_TIMEOUT, POLL_INTERVAL, MAX_REDELIVERIES, TAKEOVER, SHARDS, MAX_PAYLOAD),
        *(WAIT_REPLICAS, WAIT_TIMEOUT, EVICTION_CHECK, UNKNOWN_TASK_PATIENCE, TASK_ALIASES, MISFIRE, MISFIRE_GRACE),
        *(PARKED_TTL, CATCH_UP_RATE, CATCH_UP_AFTER, METRICS_PORT, METRICS_HOST, WEB_MASK),
    )
}
