"""URLs that name several hosts, which redis-py does not read; and any URL as it may be shown."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode

from redis.connection import parse_url

_HOST = re.compile(r"(?P<host>\[[\da-fA-F:.]+\]|[^:\[\]\s]+)(?::(?P<port>\d{1,5}))?")
_REST = r"(?:(?P<user>[^@/?#]*)@)?(?P<hosts>[^@/?#]*)(?:/(?P<database>\d*))?(?:\?(?P<query>[^#]*))?"

#: A URL in its parts, even with wrong characters.
_SHOWN = re.compile(
    r"(?:(?P<scheme>[\w+.-]+)://)?(?:(?P<user>[^/?#]*)@)?(?P<hosts>[^@/?#]*)(?P<path>(?:[/#][^?]*)?)(?:\?(?P<query>.*))?",
    re.DOTALL,
)
#: One that is followed by another of its kind, in kombu's list of URLs.
_FIRST = r"(?:[^:@/?#;]*:[^@/?#;]*@)?[^:@/?#;]+(?::\d+)?(?:/[^@?;]*)?(?:\?[^@;]*)?"

#: Words in the names of options whose values are secret.
_SECRET = re.compile("pass|pwd|secret|token|auth", re.IGNORECASE)

MASK = "**"


@dataclass(frozen=True)
class Parts:
    """The parts of a URL with several hosts.

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

    kombu's ``scheme://host;scheme://host`` is read too; of several values, the first counts.

    Args:
        url: That.
        port: Of a host that is given without one.
        shape: Its right form, for the error.

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


def without_password(url: str) -> str:
    """Return the URL as it may be shown; of a wrong one it hides too much rather than too little.

    Hidden is what redis-py would take for a password, in the user's part and in the options, percent-encoded names
    among them. Where a character of the password makes it doubtful where that ends, all behind the scheme is hidden.
    """
    scheme = re.match(r"[\w+.-]+://", url)
    if scheme:
        first = re.match(f"{re.escape(scheme[0])}{_FIRST};(?={re.escape(scheme[0])})", url)
        if first:
            return f"{without_password(first[0][:-1])};{without_password(url[first.end() :])}"
    parts = _SHOWN.fullmatch(url)
    if parts is None:
        return f"{scheme[0] if scheme else ''}{MASK}"
    user, hosts, path, query = parts["user"], parts["hosts"], parts["path"], _without_secrets(parts["query"])
    if "@" in path + query and ":" in f"{user or ''}{hosts}":
        return f"{scheme[0] if scheme else ''}{MASK}"
    if user is not None:
        name, colon, _ = user.partition(":")
        hosts = f"{name}:{MASK}@{hosts}" if colon else f"{user}@{hosts}"
    return f"{scheme[0] if scheme else ''}{hosts}{path}{query}"


def _without_secrets(query: str | None) -> str:
    """The options of a URL, with their ``?``; behind a secret, also what its unquoted ``&`` seems to end."""
    if query is None:
        return ""
    shown, hidden = [], False
    for option in query.split("&"):
        name, mark, value = option.partition("=")
        named = mark and re.fullmatch(r"[\w%.-]+", name)
        if named:
            hidden = bool(value and _SECRET.search(unquote_plus(name)))
        shown.append(f"{name}={MASK}" if named and hidden else MASK if hidden else option)
    return "?" + "&".join(shown)
