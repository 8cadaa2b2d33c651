"""Every ``dtimer_*`` setting: its type, its unit, its default, and the error for a wrong value."""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import ModuleType
from typing import Any, Self
from urllib.parse import parse_qs, quote

from celery_dtimer.broker import Address, credential_provider, key_prefix, shared_with_broker
from celery_dtimer.errors import SettingsError
from celery_dtimer.timer import options as timer
from celery_dtimer.timer.connecting.url import connect
from celery_dtimer.timer.owners import APP

PREFIX = APP.prefix

#: Settings that may be callables; any other callable of such a name is another library's.
CALLABLE = ("web_mask",)

#: An option in the query of a URL, as kombu has it for a broker: where to import a class from.
PROVIDER = "credential_provider"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one app, checked.

    Attributes:
        url: The timer's Redis. By default the broker's, if that is one.
        namespace: Name of one independent set of events. By default ``dt``, behind the broker's ``global_keyprefix``.
        max_events: Unacknowledged events that a worker holds at most; None: the worker's prefetch count.
        confirm_timeout: Seconds after which an event is redelivered if its worker neither confirms nor renews it.
        poll_interval: Seconds after which a worker looks for events by itself; the longest extra delay if the worker
            dies that was to wake for the next event.
        max_redeliveries: Redeliveries before an event is parked.
        takeover: Seconds of countdown, or until an eta, from which on a task goes to the timer, however it is called;
            None: the timer takes posts only.
        shards: Slots of a Redis Cluster over which the events are spread; fixed by the namespace's first use.
        max_payload: Largest stored message, in bytes.
        wait_replicas: Replicas of the timer's Redis that must have an event before its post returns.
        wait_timeout: Seconds that a post waits for them.
        eviction_check: Reaction of a worker that starts to a Redis that may evict the timer's keys: ``"ignore"``,
            ``"warn"`` (in its log) or ``"error"``.
        unknown_task_patience: Seconds for which a worker leaves an event whose task it does not know to other workers,
            before it parks the event.
        task_aliases: Old name of a task -> its new one, by which a worker that lacks the old one runs its events.
        misfire: What a worker does with an event that is too late when it could start it: ``"fire"``, ``"drop"`` or
            ``"park"``.
        misfire_grace: Seconds after its time from which on it is too late.
        parked_ttl: Seconds after which what is parked is dropped; None: it is kept.
        catch_up_rate: Events a second that all workers together claim of what is long overdue; None: as fast as they
            can.
        catch_up_after: Seconds; overdue by more is long overdue.
        metrics_port: Port of the worker's Prometheus endpoint; None: there is none.
        metrics_host: Its address.
        web_mask: Names of tasks, as patterns, whose arguments the console does not show; or a callable that is given
            a task's name, args and kwargs as text, and returns the args and kwargs to be shown.
        options: Options of a connection that the URL does not have; no setting of its own.
    """

    url: str = field(repr=False)  # it may have a password
    namespace: str = timer.NAMESPACE.default
    max_events: int | None = timer.MAX_EVENTS.default
    confirm_timeout: float = timer.CONFIRM_TIMEOUT.default
    poll_interval: float = timer.POLL_INTERVAL.default
    max_redeliveries: int = timer.MAX_REDELIVERIES.default
    takeover: float | None = timer.TAKEOVER.default
    shards: int = timer.SHARDS.default
    max_payload: int = timer.MAX_PAYLOAD.default
    wait_replicas: int = timer.WAIT_REPLICAS.default
    wait_timeout: float = timer.WAIT_TIMEOUT.default
    eviction_check: timer.EvictionCheck = timer.EVICTION_CHECK.default
    unknown_task_patience: float = timer.UNKNOWN_TASK_PATIENCE.default
    task_aliases: Mapping[str, str] | None = timer.TASK_ALIASES.default
    misfire: str = timer.MISFIRE.default
    misfire_grace: float = timer.MISFIRE_GRACE.default
    parked_ttl: float | None = timer.PARKED_TTL.default
    catch_up_rate: float | None = timer.CATCH_UP_RATE.default
    catch_up_after: float = timer.CATCH_UP_AFTER.default
    metrics_port: int | None = timer.METRICS_PORT.default
    metrics_host: str = timer.METRICS_HOST.default
    web_mask: Callable[[str | None, str, str], tuple[str, str]] | tuple[str, ...] | None = timer.WEB_MASK.default
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, app: Any, values: Mapping[str, Any]) -> Self:
        """Check the settings that ``configured`` found.

        Raises:
            SettingsError: A setting is of the wrong type or out of range, or no URL is to be had.
        """
        values = {name: value for name, value in values.items() if value is not None}
        address = _address(values.pop("url")) if "url" in values else shared_with_broker(app)
        prefix = "" if "namespace" in values else key_prefix(app)
        if prefix:
            values["namespace"] = _behind(prefix, cls.namespace)
        for name, value in values.items():
            values[name] = timer.OPTIONS[name].check(value, APP)
        return cls(url=address.url, options=address.options, **values)


#: The settings' names, without their prefix.
NAMES = tuple(field.name for field in fields(Settings) if field.name != "options")


def configured(app: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an app, by their names without the prefix, unchecked.

    Args:
        app: A Celery app.
        given: Those given to ``install``.

    Raises:
        SettingsError: One is unknown, is spelled so that the app does not read it, or is made twice.
    """
    found: dict[str, Any] = dict(given)
    app.conf.finalize()
    # The first one has values set on the configuration, the last one Celery's defaults.
    for mapping in app.conf.maps[:-1]:
        spelled: dict[str, str] = {}
        for key, name in _ours(app, mapping):
            if name in spelled:
                both = f"{spelled[name]} and {key}"
                raise SettingsError(f"{both} are the same setting: remove one of them", setting=PREFIX + name)
            spelled[name] = key
            found.setdefault(name, mapping[key])
    for name in found:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"did you mean {PREFIX}{near[0]}?" if near else f"there are {', '.join(PREFIX + n for n in NAMES)}"
            raise SettingsError(f"unknown setting {PREFIX}{name}: {hint}", setting=PREFIX + name)
    return found


def _ours(app: Any, mapping: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    """Yield keys of a configuration, and the settings' names that they mean, known or not.

    Where the app has a namespace, that stands before the prefix, in capitals or not; where it has none, the prefix may
    be in capitals, as Celery's old names are.
    """
    namespace = f"{app.namespace}_".lower() if app.namespace else ""
    for key in list(mapping.keys()):
        low = key.lower() if isinstance(key, str) else ""
        if PREFIX not in low:
            continue
        name = low.partition(PREFIX)[2]
        before = low[: -len(PREFIX + name)]
        foreign = isinstance(mapping[key], ModuleType) or (callable(mapping[key]) and name not in CALLABLE)
        if before not in {"", namespace, "celery_"} or foreign:
            continue  # another library's, or an import of a module of settings
        if not key.startswith(PREFIX) and before != namespace:
            right = f"{app.namespace}_{PREFIX}{name}".upper() if namespace else PREFIX + name
            why = f"begin with {app.namespace}_" if namespace else "have no namespace"
            raise SettingsError(
                f"{key} is not read, since the app's settings {why}: write {right}", setting=PREFIX + name
            )
        yield key, name


def _behind(prefix: str, namespace: str) -> str:
    """Return a namespace that no other key prefix makes."""
    made = quote(prefix, safe="!$&'()*+,;=@/?#|~^<>") + namespace
    if timer.NAMESPACE.read(made) is None:
        raise SettingsError(
            "dtimer_namespace is not set, and the broker's global_keyprefix is too long for one: set "
            f"dtimer_namespace to {timer.NAMESPACE.wanted}",
            setting=PREFIX + "namespace",
        )
    return made


def _address(value: Any) -> Address:
    """Read dtimer_url, and whether there are servers to be made of it."""
    setting = PREFIX + "url"
    if not isinstance(value, str):
        # Not shown: a list of URLs, or one in bytes, has its password all the same.
        raise SettingsError(f"{setting} must be a URL, a string, got {type(value).__name__}", setting=setting)
    # Celery's spelling of what redis-py calls none, optional and required.
    url = re.sub(r"([?&]\w*ssl_cert_reqs=)CERT_(\w+)", lambda found: found[1] + found[2].lower(), value)
    options = {}
    provider = parse_qs(url.partition("?")[2]).get(PROVIDER)
    if provider:
        url = re.sub(rf"([?&]){PROVIDER}=[^&]*&?", r"\1", url).rstrip("?&")
        try:
            options[PROVIDER] = credential_provider(provider[0])
        except ValueError as exc:
            raise SettingsError(f"{setting}: {exc}", setting=setting) from None
    connect(url, options, name=setting)
    return Address(url, options)
