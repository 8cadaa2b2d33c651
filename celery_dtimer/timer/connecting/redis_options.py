"""The options of a connection that the query of a URL may have, and their values.

redis-py takes every text for every option, and finds with the first command, or never, what can't be: a listener would
try again for ever. ``URL_QUERY_ARGUMENT_PARSERS`` in redis/connection.py says which are no texts.
"""

import difflib
import math
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

#: Options that a text can express, and that the timer does not depend on.
NAMES = frozenset(
    (
        *("host", "port", "path", "db", "username", "password", "client_name", "lib_name", "lib_version", "protocol"),
        *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_read_size", "health_check_interval"),
        *("max_connections", "retry_on_timeout"),
        *("ssl_ca_certs", "ssl_ca_path", "ssl_ca_data", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_cert_reqs"),
        *("ssl_check_hostname", "ssl_min_version", "ssl_ciphers", "ssl_validate_ocsp", "ssl_validate_ocsp_stapled"),
        *("ssl_include_verify_flags", "ssl_exclude_verify_flags"),
    )
)

#: More of them, in a sentinel:// URL. Each other one may begin with ``sentinel_``.
OF_SENTINELS = frozenset(("master_name", "min_other_sentinels", "ssl", "sentinel_ssl"))

#: Options of redis-py's that a timer refuses, and why.
REFUSED = {
    "decode_responses": "payloads are bytes, and stay so",
    "encoding": "names are stored in UTF-8",
    "encoding_errors": "names are stored in UTF-8",
    "credential_provider": "it is an object: give a client that has it",
}

MAX_TIMEOUT = 86_400.0


def check_names(url: str) -> None:
    """Refuse options that are unknown, or that no timer can live with.

    Raises:
        ValueError: One is wrong; the text follows the URL.
    """
    sentinel = url.startswith("sentinel://")
    for part in url.split(";") if sentinel else [url]:
        for name, _ in parse_qsl(part.partition("#")[0].partition("?")[2], keep_blank_values=True):
            plain = name.removeprefix("sentinel_") if sentinel else name
            if plain in NAMES or (sentinel and name in OF_SENTINELS):
                continue
            if plain in REFUSED:
                raise ValueError(f"has the option {name!r}, which no timer takes: {REFUSED[plain]}")
            # The name of an option that is none may be a part of a password.
            if not name.isidentifier():
                raise ValueError("has an option whose name is no name")
            near = difflib.get_close_matches(plain, sorted(NAMES | OF_SENTINELS if sentinel else NAMES), n=1)
            raise ValueError(f"has the option {name!r}, which is unknown{f': did you mean {near[0]}?' if near else ''}")


def check_values(options: Mapping[str, Any]) -> None:
    """Refuse values that redis-py would try for ever, or raise something of the system's about.

    Args:
        options: Of a connection, as redis-py has read them.

    Raises:
        ValueError: One is wrong; the text follows the URL.
    """
    for name in ("socket_timeout", "socket_connect_timeout"):
        value = options.get(name)
        if value is not None and not (math.isfinite(value) and 0 < value <= MAX_TIMEOUT):
            raise ValueError(f"has {name}={value!r}, which must be more than 0 s and {MAX_TIMEOUT:g} s at most")
    if "host" in options:
        _check_host(str(options["host"]))
    port = options.get("port")
    if port is not None and not (str(port).isdecimal() and 0 < int(port) < 2**16):
        raise ValueError("has a port that is none: ports are 1 to 65535")
    path = options.get("path")
    if path is not None and (not path or "\0" in path):
        raise ValueError("has a path that is none")
    if int(options.get("db") or 0) < 0:
        raise ValueError(f"has the database {options['db']}, and they begin at 0")
    if options.get("protocol") not in (None, 2, "2"):
        raise ValueError(f"has protocol={options['protocol']!r}, and the timer speaks protocol 2")
    if "ssl_min_version" in options and options["ssl_min_version"] not in list(ssl.TLSVersion):
        raise ValueError(f"has ssl_min_version={options['ssl_min_version']!r}, which is none of ssl.TLSVersion")


def _check_host(host: str) -> None:
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError("has a host whose name is none: an empty part, or one that is too long") from None
    if not host.isprintable():
        raise ValueError("has a host whose name has a character that can't be in one")
