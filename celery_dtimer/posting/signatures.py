"""What calls take beside a task's own arguments, for type checkers: the options of a post, a task, and ``install``.

Celery takes more: any other option is a property of the message, and any other of a task is an attribute of it. A
mapping that is unpacked (``**{"colour": "red"}``, of type ``dict[str, Any]``) passes a checker.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict

from celery.canvas import Signature
from kombu.entity import Exchange, Queue

from celery_dtimer.posting.keys import Key
from celery_dtimer.timer.events import OnConflict
from celery_dtimer.timer.options import EvictionCheck
from celery_dtimer.timer.times import Delay

#: Text by which a task is found; one text alone would be a list of letters.
Tags = list[str] | tuple[str, ...] | set[str] | frozenset[str]

#: What a worker does with an event that is too late.
Misfire = Literal["fire", "drop", "park"]

#: An instant, as Celery takes it; a naive one is in UTC.
Eta = datetime | str


class TimerOptions(TypedDict, total=False):
    """Options of a post that are the timer's; a task has them as its defaults."""

    max_redeliveries: int | None
    on_conflict: OnConflict
    max_wait: Delay | None
    key: Key | None
    jitter: Delay | None
    tags: Tags | None


class MessageOptions(TypedDict, total=False):
    """Options of ``apply_async`` but for its times, its connections and the id, which is of one message only."""

    # Where it goes, and as what.
    queue: str | Queue | None
    exchange: str | Exchange | None
    exchange_type: str | None
    routing_key: str | None
    router: Any
    route_name: str | None
    declare: Sequence[Exchange | Queue] | None
    serializer: str | None
    compression: str | None
    priority: int | None
    headers: Mapping[str, Any] | None
    stamped_headers: Sequence[str] | None

    # How it runs, and what follows.
    expires: float | datetime | str | None
    time_limit: float | None
    soft_time_limit: float | None
    link: Signature | Sequence[Signature] | None
    link_error: Signature | Sequence[Signature] | None
    chain: Sequence[Signature] | None
    chord: Any
    ignore_result: bool | None
    result_cls: type[Any] | None
    shadow: str | None
    argsrepr: str | None
    kwargsrepr: str | None

    # Where it comes from.
    add_to_parent: bool
    root_id: str | None
    parent_id: str | None
    group_id: str | None
    group_index: int | None
    retries: int
    replaced_task_nesting: int

    # How often a post is tried.
    retry: bool | None
    retry_policy: Mapping[str, Any] | None
    timeout: float | None
    confirm_timeout: float | None

    # Properties that AMQP has for a message.
    app_id: str | None
    content_encoding: str | None
    content_type: str | None
    correlation_id: str | None
    delivery_mode: int | str | None
    expiration: float | None
    immediate: bool
    mandatory: bool
    message_id: str | None
    reply_to: str | None
    timestamp: float | None
    type: str | None
    user_id: str | None


class PostManyOptions(MessageOptions, TimerOptions, total=False):
    """Options of ``post_many``: those of all its messages, and the timer's."""


class PostOptions(PostManyOptions, total=False):
    """Options of ``post``: every one of ``apply_async``, and the timer's."""

    task_id: str | None


class TaskOptions(TimerOptions, total=False):
    """Options of ``@dtimer_task`` but for ``bind``: those of ``shared_task``, and the timer's."""

    misfire: Misfire | None
    grace: Delay | None

    name: str
    base: type[Any] | None
    typing: bool
    serializer: str | None
    priority: int | None
    expires: float | datetime | None
    rate_limit: str | float | None
    time_limit: float | None
    soft_time_limit: float | None
    throws: tuple[type[BaseException], ...]
    pydantic: bool
    pydantic_strict: bool
    pydantic_context: dict[str, Any] | None
    pydantic_dump_kwargs: dict[str, Any] | None

    # Its acknowledgement.
    acks_late: bool
    acks_on_failure: bool
    acks_on_failure_or_timeout: bool
    acks_on_timeout: bool
    reject_on_worker_lost: bool
    retry_on_worker_lost: bool

    # Its result.
    ignore_result: bool
    resultrepr_maxsize: int
    send_events: bool
    store_eager_result: bool
    store_errors_even_if_ignored: bool
    track_started: bool
    trail: bool

    # Its retries.
    autoretry_for: Sequence[type[BaseException]]
    default_retry_delay: float
    dont_autoretry_for: Sequence[type[BaseException]]
    max_retries: int | None
    retry_backoff: bool | float
    retry_backoff_max: float
    retry_jitter: bool
    retry_kwargs: dict[str, Any]

    # Functions in place of the class's methods.
    after_return: Callable[..., Any]
    before_start: Callable[..., Any]
    on_failure: Callable[..., Any]
    on_retry: Callable[..., Any]
    on_success: Callable[..., Any]
    shadow_name: Callable[..., Any]


class InstallOptions(TypedDict, total=False):
    """Settings of ``install``, without their prefix; None is as good as left out."""

    url: str | None
    namespace: str | None
    max_events: int | None
    confirm_timeout: Delay | None
    poll_interval: Delay | None
    max_redeliveries: int | None
    takeover: Delay | None
    shards: int | None
    max_payload: int | None
    wait_replicas: int | None
    wait_timeout: Delay | None
    eviction_check: EvictionCheck | None
    unknown_task_patience: Delay | None
    task_aliases: Mapping[str, str] | None
    misfire: Misfire | None
    misfire_grace: Delay | None
    parked_ttl: Delay | None
    catch_up_rate: float | None
    catch_up_after: Delay | None
    metrics_port: int | None
    metrics_host: str | None
    web_mask: Callable[[str | None, str, str], tuple[str, str]] | Tags | None
