"""Moving tasks with an eta that wait in the broker into the timer.

Each is stored in the timer first, and then taken out of the broker. If it is interrupted, every task is in one of them,
or in both until it is run again, which stores nothing twice.
"""

import base64
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import redis
from kombu.utils.json import loads

from celery_dtimer import message
from celery_dtimer.celery_patches.apps import redis_lists
from celery_dtimer.errors import DTimerError
from celery_dtimer.extension import Extension
from celery_dtimer.posting.eta import eta_of
from celery_dtimer.timer.checks import check_id, check_payload, kind_of
from celery_dtimer.timer.events import NewEvent
from celery_dtimer.timer.storing.progress import tell

#: Messages that are read from a Redis list at a time.
PAGE = 500

#: Seconds to wait for a connection to a broker that is a Redis, unless ``broker_transport_options`` says it.
CONNECT_TIMEOUT = 5.0

#: Properties of a message that belong to its way through one broker.
OF_THE_BROKER = (
    *("application_headers", "body_encoding", "content_encoding", "content_type", "delivery_info", "delivery_tag"),
)


@dataclass
class Report:
    """What became of the messages that were looked at.

    Attributes:
        adopted: Ids of the tasks that are in the timer now (with ``dry_run``: that would be).
        kept: How many were left in the broker: without an eta, or with one that is too near.
        held: Ids of the tasks that a living worker holds in its memory: it will run them itself.
        left: How many more were left there, by the reason.
        failed: Id or ``?`` and what was wrong, of messages that were left since they can't be stored.
    """

    adopted: list[str] = field(default_factory=list)
    kept: int = 0
    held: list[str] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def leave(self, reason: str) -> None:
        """Count a message that stays where it is."""
        self.left[reason] = self.left.get(reason, 0) + 1


class _Left(Exception):  # noqa: N818 - it is no error
    """A message stays where it is; the text says why."""


class Adoption:
    """Moves messages into the timer.

    Args:
        extension: The app's timer.
        at_least: Only tasks whose eta is so many seconds away.
        dry_run: Change nothing.
    """

    def __init__(self, extension: Extension, *, at_least: float = 0.0, dry_run: bool = False) -> None:
        self.report = Report()
        self._extension = extension
        self._at_least = at_least
        self._dry_run = dry_run

    def run(self, queues: Iterable[str], held: Iterable[str] = ()) -> Report:
        """Look through the queues, and in Redis through what was fetched and not acknowledged.

        Args:
            queues: Names of queues.
            held: Ids of the tasks that living workers hold.
        """
        app, queues = self._extension.app, tuple(queues)
        with app.connection_for_read() as connection:
            if connection.transport.driver_type == "redis":
                connection.transport_options.setdefault("socket_connect_timeout", CONNECT_TIMEOUT)
                found = _InRedis(connection.default_channel)
                for queue in queues:
                    self._from_redis_queue(found, queue)
                self._from_redis_unacked(found, set(queues), set(held))
            else:
                for queue in queues:
                    self._by_consuming(connection, app.amqp.queues[queue])
        return self.report

    # --- Redis: without taking anything out that stays

    def _from_redis_queue(self, found: "_InRedis", queue: str) -> None:
        for key in found.lists_of(queue):
            # From the end that workers take from: what is pushed meanwhile is at the other one.
            unread, stays = found.client.llen(key), 0
            while page := found.client.lrange(key, -(stays + min(PAGE, unread)), -(stays + 1)) if unread else ():
                for raw in reversed(page):
                    if self._adopt(raw, queue) and not self._dry_run:
                        found.client.lrem(key, -1, raw)  # type: ignore[arg-type] # it is sent as it is
                    else:
                        stays += 1
                unread -= len(page)

    def _from_redis_unacked(self, found: "_InRedis", queues: set[str], held: set[str]) -> None:
        for tag, raw in found.client.hscan_iter(found.unacked, count=PAGE):
            try:
                stored, exchange, routing_key = loads(raw)
                event_id = (stored.get("headers") or {}).get("id")
                leads_to = found.queues_of(exchange, routing_key)
            except (ValueError, TypeError, AttributeError):
                self.report.leave("no message of kombu's")
                continue
            if event_id in held:
                self.report.held.append(event_id)
            elif not queues.intersection(leads_to):
                self.report.leave("of another queue")
            elif len(queues.intersection(leads_to)) > 1:
                # Each of them got a copy under the same id, and nothing says whose this one is.
                names = ", ".join(sorted(leads_to))
                self.report.leave(
                    f"fetched from one of several queues that an exchange leads to ({names}): name one, -Q"
                )
            elif self._adopt(stored, *queues.intersection(leads_to)) and not self._dry_run:
                with found.client.pipeline() as pipe:
                    pipe.zrem(found.unacked_index, tag)
                    pipe.hdel(found.unacked, tag)
                    pipe.execute()

    # --- any other broker: take out, and give back at the end what stays

    def _by_consuming(self, connection: Any, queue: Any) -> None:
        with closing(connection.channel()) as channel:
            bound = queue(channel)
            try:
                count = bound.queue_declare(passive=True).message_count
            except connection.channel_errors:
                return  # it is not there, and so is nothing in it
            kept = []
            for _ in range(count):
                received = bound.get(no_ack=False)
                if received is None:
                    break
                if self._adopt(received, queue.name) and not self._dry_run:
                    received.ack()
                else:
                    kept.append(received)
            # Last first: each goes back to the place that it was taken from.
            for received in reversed(kept):
                received.requeue()

    # --- one message

    def _adopt(self, raw: Any, queue: str) -> bool:
        """Store a message in the timer, if it is the timer's; whether it may leave the broker."""
        event_id = "?"
        tell(1)
        try:
            try:
                found = _of_redis(raw) if isinstance(raw, bytes | str | dict) else _of_kombu(raw)
            except (ValueError, TypeError, LookupError, AttributeError):
                raise _Left("no message of kombu's") from None
            if not found.headers.get("eta"):
                self.report.kept += 1
                return False
            event_id = str(found.headers.get("id", "?"))
            due_ms = eta_of(found.headers["eta"])
            if due_ms < (time.time() + self._at_least) * 1000:
                self.report.kept += 1
                return False
            self._store(found, check_id(found.headers.get("id")), due_ms, queue)
        except _Left as left:
            self.report.leave(str(left))
            return False
        except (DTimerError, TypeError, ValueError) as exc:
            if isinstance(exc, ConnectionError):
                raise
            self.report.failed.append((event_id, str(exc)))
            return False
        self.report.adopted.append(event_id)
        return True

    def _store(self, found: message.StoredMessage, event_id: str, due_ms: int, queue: str) -> None:
        settings, shards = self._extension.settings, self._extension.shards
        found.headers["eta"] = None
        payload = message.encode(found, event_id, queue)
        check_payload(payload, settings.max_payload)
        if found.exchange:
            # It may have put a copy into another queue, too: there are two runs of one id, and one event.
            known = shards.of(event_id).peek(event_id)
            if known is not None and known.queue != queue:
                raise _Left(f"a copy of a task that is in the timer for another queue ({known.queue})")
        if not self._dry_run:
            event = NewEvent(
                event_id, payload, "at", due_ms, settings.max_redeliveries, queue, kind_of(found.headers.get("task"))
            )
            # One that was stored before, by a run that was killed between storing and removing, is kept.
            shards.of(event.id).post([event], conflict="keep")


class _InRedis:
    """Where kombu's Redis transport has messages.

    Its own client puts the key prefix before the keys of those commands only that kombu itself sends.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._prefix = channel.global_keyprefix or ""
        self.client = redis.Redis(connection_pool=channel.pool)
        self.unacked = self._prefix + channel.unacked_key
        self.unacked_index = self._prefix + channel.unacked_index_key
        self._tables: dict[str, Any] = {}

    def lists_of(self, queue: str) -> list[str]:
        """Return the names of a queue's lists, one a priority."""
        return [self._prefix + name for name in redis_lists(self._channel, queue)]

    def queues_of(self, exchange: str, routing_key: str) -> set[str]:
        """Return the queues that kombu would restore a message to, which has come by that way."""
        if not exchange:
            return {routing_key}
        if exchange not in self._tables:
            self._tables[exchange] = self._channel.get_table(exchange)
        table = self._tables[exchange]
        return {queue for key, pattern, queue in table if _binds(key, pattern, routing_key)}


def _binds(key: str, pattern: str, routing_key: str) -> bool:
    """Whether a binding takes a routing key; those of topic exchanges alone have a pattern."""
    return re.match(pattern, routing_key) is not None if pattern else key == routing_key


def _of_redis(raw: Any) -> message.StoredMessage:
    """Return a message that kombu's Redis transport has stored."""
    stored = loads(raw) if isinstance(raw, bytes | str) else raw
    properties, body = stored.get("properties") or {}, stored["body"]
    data = base64.b64decode(body) if properties.get("body_encoding") == "base64" else body.encode()
    kind, encoding = stored["content-type"], stored["content-encoding"]
    return _stored(data, kind, encoding, stored.get("headers"), properties, properties.get("delivery_info"))


def _of_kombu(received: Any) -> message.StoredMessage:
    data = received.body.encode() if isinstance(received.body, str) else bytes(received.body)
    kind, encoding = received.content_type, received.content_encoding
    return _stored(data, kind, encoding, received.headers, received.properties, received.delivery_info)


def _stored(data: bytes, kind: str, encoding: str, headers: Any, properties: Any, info: Any) -> message.StoredMessage:
    _check_protocol(headers or {}, data, kind)
    return message.StoredMessage(
        body=data,
        content_type=kind,
        content_encoding=encoding,
        headers=dict(headers or {}),
        properties={name: value for name, value in properties.items() if name not in OF_THE_BROKER},
        exchange=(info or {}).get("exchange") or "",
        routing_key=(info or {}).get("routing_key") or "",
    )


def _check_protocol(headers: Mapping[str, Any], body: bytes, content_type: str) -> None:
    """Leave Celery's old protocol 1 to the workers: the task is in the body, which is read here if it is JSON."""
    if "task" in headers:
        return
    task = None
    if content_type == "application/json":
        with suppress(ValueError):
            content = loads(body)
            task = content.get("task") if isinstance(content, dict) else None
    raise _Left(f"of protocol 1 ({task})" if isinstance(task, str) else "no task of protocol 2")
