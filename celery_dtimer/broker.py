"""Where a broker that is a Redis is, for a timer that shares it: its URL, and the options outside of that.

kombu reads the settings (``broker_url``, ``broker_user``, ``broker_use_ssl`` and so on, and the environment), so that
the timer goes where the broker is. The options follow kombu's ``Channel._connparams`` in kombu/transport/redis.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from kombu.utils.imports import symbol_by_name
from kombu.utils.url import url_to_parts

from celery_dtimer.errors import SettingsError
from celery_dtimer.timer.connecting.hosts import without_password
from celery_dtimer.timer.connecting.url import connect

#: Option of a transport: the text that kombu puts before the names of all its keys.
KEY_PREFIX = "global_keyprefix"


class NotARedisError(ValueError):
    """The broker is another one, or none that kombu can load: then the text says why."""


@dataclass(frozen=True)
class Address:
    """Where a Redis is, and how to log in.

    Attributes:
        url: The URL, without user and password.
        options: redis-py's options of a connection: user, password, and those that no URL has.
    """

    url: str
    options: dict[str, Any] = field(default_factory=dict, repr=False)


def shared_with_broker(app: Any) -> Address:
    """Return where the broker of an app is, for a timer that has no URL of its own.

    Raises:
        SettingsError: It is no Redis, or knows something that can't be taken over.
    """
    try:
        address = _address(app.connection_for_write)
        differs = _address(app.connection_for_read) != address
    except NotARedisError as exc:
        broker = f"the broker ({_shown(app.conf.broker_url)})"
        if not exc.args:
            raise _refused(f"{broker} is no Redis that the timer could share", "a redis:// URL") from None
        raise _refused(
            f"kombu can't load the transport of {broker}: {exc}", "a redis:// URL if the broker is no Redis"
        ) from None
    except ValueError as exc:
        wrong = str(exc)
    else:
        if differs:
            raise _refused("broker_read_url and broker_write_url differ", "the Redis that all are to share")
        try:
            if "credential_provider" in address.options:
                address.options["credential_provider"] = credential_provider(address.options["credential_provider"])
            connect(address.url, address.options, name="its URL")
        except ValueError as exc:
            wrong = str(exc)
        else:
            return address
    raise _refused(f"the broker can't be shared: {wrong}", "the URL of the timer's Redis")


def key_prefix(app: Any) -> str:
    """Return the ``global_keyprefix`` by which kombu keeps fleets apart in one Redis; empty if there is none."""
    prefix = (app.conf.broker_transport_options or {}).get(KEY_PREFIX)
    if not prefix:
        return ""
    try:
        is_redis = _driver(app.connection_for_write()) == "redis"
    except ValueError:
        return ""
    return str(prefix) if is_redis else ""


def credential_provider(given: Any) -> Any:
    """Return a credential provider that is given as kombu takes it: one, or where to import its class from.

    Raises:
        ValueError: There is none. The text follows the name of the setting or the URL.
    """
    if not isinstance(given, str):
        return given
    try:
        return symbol_by_name(given)()
    except Exception as exc:  # noqa: BLE001 - of the user's class too
        why = f"{type(exc).__name__}: {exc}"
        raise ValueError(f"its URL has credential_provider={given!r}, which can't be made ({why})") from None


def _address(make: Callable[[], Any]) -> Address:
    """Return where a connection would go.

    Raises:
        NotARedisError: Not to a Redis.
        ValueError: It is wrong.
    """
    try:
        connection = make()
    except (ImportError, LookupError, NameError) as exc:
        raise _unloaded(exc) from None  # kombu lacks its transport, or that lacks its client
    except Exception as exc:  # noqa: BLE001 - kombu checks little, and its text may quote a part of the password
        raise ValueError(f"kombu can't read broker_url and its like ({type(exc).__name__})") from None
    if _driver(connection) != "redis":
        raise NotARedisError
    options = _tls(connection.ssl)
    ssl = bool(options)
    options |= {"username": connection.userid, "password": connection.password}
    provider = getattr(connection, "credential_provider", None)
    hostname, default_port = connection.hostname or "127.0.0.1", connection.get_transport_cls().default_port
    if "://" in hostname:
        url, provider = _of_socket(hostname, options, provider, connection.virtual_host)
    elif _is_sentinel(connection):
        url = _of_sentinels(connection, options, ssl=ssl)
    else:
        address = _host(hostname, connection.port or default_port)
        url = f"{'rediss' if ssl else 'redis'}://{address}{_path(_database(connection.virtual_host))}"
    if provider:
        # As kombu does: it goes before user and password.
        options.update(username=None, password=None, credential_provider=provider)
    if callable(options["password"]):
        raise ValueError("broker_password is a callable, which kombu calls for AMQP alone")  # noqa: TRY004 - as the rest
    return Address(url, {name: value for name, value in options.items() if value is not None})


def _driver(connection: Any) -> str:
    try:
        return str(connection.get_transport_cls().driver_type)
    except Exception as exc:  # noqa: BLE001 - its module is imported, and may lack what it needs
        raise _unloaded(exc) from None


def _unloaded(exc: Exception) -> NotARedisError:
    """Say why kombu can't load a transport: ``celery`` alone has not all that its Redis transport needs."""
    if not isinstance(exc, ImportError):
        return NotARedisError()
    return NotARedisError(f"{exc} (for a Redis: pip install 'celery[redis]')")


def _is_sentinel(connection: Any) -> bool:
    return any(cls.__name__ == "SentinelTransport" for cls in connection.get_transport_cls().__mro__)


def _tls(ssl: Any) -> dict[str, Any]:
    if not ssl:
        return {}
    if not isinstance(ssl, Mapping):
        # kombu would leave it out without a word, and connect in plain text.
        wrong = f"broker_use_ssl must be a dict of ssl_* options where the broker is a Redis, got {ssl!r}"
        raise ValueError(wrong)  # noqa: TRY004 - as the rest
    return dict(ssl)


def _of_socket(hostname: str, options: dict[str, Any], provider: Any, virtual_host: str) -> tuple[str, Any]:
    """The URL of a Redis behind a Unix socket, and its credential provider; kombu has all of it for a hostname."""
    parts = url_to_parts(hostname)
    if parts.scheme != "socket" or not parts.path:
        raise ValueError(f"{without_password(hostname)!r} is none that kombu connects to")
    options |= {"username": parts.username, "password": parts.password}
    query = dict(parts.query)
    provider = query.pop("credential_provider", provider)
    database = _database(query.pop("virtual_host", virtual_host))
    for name in ("username", "password"):
        options[name] = query.pop(name, options[name])
    if database:
        query["db"] = str(database)
    return f"unix:///{quote(parts.path)}{'?' if query else ''}{urlencode(query)}", provider


def _of_sentinels(connection: Any, options: dict[str, Any], *, ssl: bool) -> str:
    known, default_port = connection.transport_options, connection.get_transport_cls().default_port
    of_sentinels = known.get("sentinel_kwargs") or {}
    if not isinstance(of_sentinels, Mapping):
        wrong = f"sentinel_kwargs must be a dict, got {type(of_sentinels).__name__}"
        raise ValueError(wrong)  # noqa: TRY004 - as the rest
    options |= {f"sentinel_{name}": value for name, value in of_sentinels.items()}
    hosts = []
    for url in connection.alt:
        parts = url_to_parts(url)
        if parts.scheme == "sentinel":
            hosts.append(_host(parts.hostname or "127.0.0.1", parts.port or default_port))
    query = {name: known.get(name) for name in ("master_name", "min_other_sentinels")}
    query["ssl"] = "true" if ssl else None
    if options.pop("sentinel_ssl", False):
        query["sentinel_ssl"] = "true"
    text = urlencode({name: value for name, value in query.items() if value is not None})
    hosts = hosts or [_host(connection.hostname or "127.0.0.1", connection.port or default_port)]
    return f"sentinel://{','.join(hosts)}{_path(_database(connection.virtual_host))}?{text}"


def _host(host: str, port: Any) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{quote(host, safe='')}:{port}"


def _path(database: int) -> str:
    return f"/{database}" if database else ""


def _database(virtual_host: Any) -> int:
    """The number in a virtual host; ``/`` and nothing are 0."""
    text = str(virtual_host or "").removeprefix("/")
    if text and not text.isdecimal():
        # Not shown: it may be the end of a password with a slash.
        raise ValueError("its virtual host (broker_vhost, or the path of its URL) must be the number of a database")
    return int(text or 0)


def _shown(url: Any) -> str:
    first = next(iter(url), "") if isinstance(url, list | tuple) else url
    return without_password(str(first or "").partition(";")[0]) or "none"


def _refused(why: str, what: str) -> SettingsError:
    return SettingsError(f"dtimer_url is not set, and {why}: set dtimer_url to {what}", setting="dtimer_url")
