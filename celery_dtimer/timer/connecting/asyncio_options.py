"""From the connections of a sync client of redis-py's to asyncio ones that lead to the same place."""

import inspect
from functools import cache
from typing import Any

import redis.asyncio
from redis import connection as sync
from redis.asyncio import connection as awaited
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from celery_dtimer.errors import SettingsError
from celery_dtimer.timer.connecting.credentials import Credentials
from celery_dtimer.timer.connecting.naming import without_name
from celery_dtimer.timer.connecting.redis_patches import FindsMaster

#: redis-py's classes of connections, and their like. Those of a sentinel:// URL are mapped by the way they connect.
CLASSES: dict[type, type[awaited.AbstractConnection]] = {
    sync.Connection: awaited.Connection,
    sync.SSLConnection: awaited.SSLConnection,
    sync.UnixDomainSocketConnection: awaited.UnixDomainSocketConnection,
}

#: Options whose values are ours, or objects of the sync client's own that no asyncio connection can use.
OURS = ("retry", "retry_on_timeout", "retry_on_error", "protocol", "parser_class", "encoder_class", "command_packer")


class MasterConnection(FindsMaster, awaited.Connection):
    """A connection to the master of the moment when it connects."""


class MasterSSLConnection(FindsMaster, awaited.SSLConnection):
    """The same over TLS."""


def asyncio_pool(pool: sync.ConnectionPool) -> tuple[redis.asyncio.ConnectionPool, int]:
    """Return a pool of asyncio connections to where a sync one's lead, and how many that may have.

    Raises:
        SettingsError: An option of its connections can't be had with asyncio.
    """
    kind, options = asyncio_options(pool.connection_class, pool.connection_kwargs)
    return redis.asyncio.ConnectionPool(connection_class=kind, **options), pool.max_connections


def asyncio_options(
    sync_class: type[Any], sync_options: dict[str, Any]
) -> tuple[type[awaited.AbstractConnection], dict[str, Any]]:
    """Return the class and the options of an asyncio connection that is like a sync one.

    Raises:
        SettingsError: An option can't be had with asyncio.
    """
    given = without_name(sync_options)
    masters = given.get("connection_pool")
    if masters is not None:
        ssl = issubclass(sync_class, sync.SSLConnection)
        kind: type[awaited.AbstractConnection] | None = MasterSSLConnection if ssl else MasterConnection
    else:
        kind = CLASSES.get(sync_class)
    if kind is None:
        raise _refused(f"connections of the class {sync_class.__qualname__}")
    if given.get("redis_connect_func") is not None:
        raise _refused("a redis_connect_func")
    known = _options_of(kind)  # type: ignore[arg-type] # a class is hashable, whatever its __hash__
    options: dict[str, Any] = {}
    for name, value in given.items():
        if name in known and name not in OURS and not name.startswith(("maint_", "orig_", "himport")):
            options[name] = value
        elif name.startswith("ssl_") and value and name not in known:
            raise _refused(f"{name}={value!r}" if isinstance(value, bool) else name)
    provider = options.get("credential_provider")
    if provider is not None and not isinstance(provider, Credentials):
        options["credential_provider"] = Credentials(provider)  # a client's, which is the user's own
    options |= {"protocol": 2, "retry": Retry(NoBackoff(), 0)}
    if masters is not None:
        options |= {"masters": masters, "host": "", "port": 0}
    return kind, options


def _refused(what: str) -> SettingsError:
    text = f"the timer's Redis is reached with {what}, which redis-py's asyncio connections do not have"
    return SettingsError(f"{text}: call the methods without await, in a thread", setting="url", value=what)


@cache
def _options_of(kind: Any) -> frozenset[str]:
    inits = (vars(base).get("__init__") for base in kind.__mro__)
    return frozenset(name for init in inits if init for name in inspect.signature(init).parameters)
