"""URLs that name several hosts, which redis-py does not read."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from redis.connection import parse_url

_HOST = re.compile(r"(?P<host>\[[\da-fA-F:.]+\]|[^:\[\]\s]+)(?::(?P<port>\d{1,5}))?")
_REST = r"(?:(?P<user>[^@/?#]*)@)?(?P<hosts>[^@/?#]*)(?:/(?P<database>\d*))?(?:\?(?P<query>[^#]*))?"


@dataclass(frozen=True)
class Parts:
    """What a URL of several hosts says.

    Attributes:
        hosts: (host, port) of each.
        user: ``user:password``, percent-encoded; empty if there is none.
        database: A number, or empty.
        query: By name.
    """

    hosts: list[tuple[str, int]]
    user: str
    database: str
    query: dict[str, str]


def split(url: str, port: int, shape: str) -> Parts:
    """Take ``scheme://[user:password@]host[:port][,host[:port]...][/database][?query]`` apart.

    kombu's ``scheme://host;scheme://host`` is read too; what several of its parts say, the first one says.

    Args:
        url: That.
        port: Of a host that is given without one.
        shape: What it should look like, for the error.

    Raises:
        ValueError: It does not. The text shows no part of it.
    """
    scheme = re.escape(url.partition("://")[0])
    part_of_it = re.compile(f"{scheme}://{_REST}")
    hosts: list[tuple[str, int]] = []
    user = database = ""
    query: dict[str, str] = {}
    for part in url.split(";"):
        found = part_of_it.fullmatch(part)
        addresses = [_HOST.fullmatch(host) for host in found["hosts"].split(",")] if found else [None]
        for address in addresses:
            if found is None or address is None or not 0 < int(address["port"] or port) < 2**16:
                raise ValueError(f"it is not of the form {shape}")
            hosts.append((address["host"].strip("[]"), int(address["port"] or port)))
        if found is not None:
            user = user or found["user"] or ""
            database = database or found["database"] or ""
            query = {**dict(parse_qsl(found["query"] or "", keep_blank_values=True)), **query}
    return Parts(hosts, user, database, query)


def options(query: dict[str, str], *, ssl: bool, user: str = "", database: str = "") -> dict[str, Any]:
    """Let redis-py read the options of a connection, as it does those of a ``redis://`` URL."""
    scheme = "rediss" if ssl else "redis"
    read: dict[str, Any] = dict(parse_url(f"{scheme}://{user}@host/{database}?{urlencode(query)}"))
    for name in ("host", "port", "connection_class"):
        read.pop(name, None)
    return read
