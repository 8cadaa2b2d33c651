"""Moving tasks with an eta that wait in the broker into the timer.

Each is stored in the timer first, and taken out of the broker then: whenever it ends half-way, every task is in one of
them, or in both until it is run once more, which stores nothing twice.
"""

import base64
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kombu.utils.json import loads

from celery_dtimer import message
from celery_dtimer.errors import DTimerError
from celery_dtimer.extension import Extension
from celery_dtimer.posting.when import eta_of
from celery_dtimer.timer.events import NewEvent, check_id, check_payload

#: Messages that are read from a Redis list at a time.
PAGE = 500

#: Properties of a message that belong to its way through one broker.
OF_THE_BROKER = (
    "application_headers",
    "body_encoding",
    "content_encoding",
    "content_type",
    "delivery_info",
    "delivery_tag",
)


@dataclass
class Report:
    """What became of the messages that were looked at.

    Attributes:
        adopted: Ids of the tasks that are in the timer now (with ``dry_run``: that would be).
        kept: How many were left in the broker: without an eta, or with one that is too near.
        held: Ids of the tasks that a living worker holds in its memory: it will run them itself.
        failed: Id or ``?`` and what was wrong, of messages that were left since they can't be stored.
    """

    adopted: list[str] = field(default_factory=list)
    kept: int = 0
    held: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


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
        app = self._extension.app
        with app.connection_for_read() as connection:
            if connection.transport.driver_type == "redis":
                for queue in queues:
                    self._from_redis_queue(connection.default_channel, queue)
                self._from_redis_unacked(connection.default_channel, set(queues), set(held))
            else:
                for queue in queues:
                    self._by_consuming(connection, app.amqp.queues[queue])
        return self.report

    # --- Redis: without taking anything out that stays

    def _from_redis_queue(self, channel: Any, queue: str) -> None:
        with channel.conn_or_acquire() as client:
            for priority in channel.priority_steps:
                key = channel._q_for_pri(queue, priority)  # noqa: SLF001 - kombu names its lists there only
                # From the end that workers take from: what is pushed meanwhile is at the other one.
                unread, stays = client.llen(key), 0
                while page := client.lrange(key, -(stays + min(PAGE, unread)), -(stays + 1)) if unread else ():
                    for raw in reversed(page):
                        if self._adopt(_of_redis(raw), queue) and not self._dry_run:
                            client.lrem(key, -1, raw)
                        else:
                            stays += 1
                    unread -= len(page)

    def _from_redis_unacked(self, channel: Any, queues: set[str], held: set[str]) -> None:
        with channel.conn_or_acquire() as client:
            for tag, raw in client.hscan_iter(channel.unacked_key, count=PAGE):
                stored, _, routing_key = loads(raw)
                found = _of_redis(stored)
                if found is None or routing_key not in queues:
                    continue
                if found.headers.get("id") in held:
                    self.report.held.append(found.headers["id"])
                elif self._adopt(found, routing_key) and not self._dry_run:
                    with client.pipeline() as pipe:
                        pipe.zrem(channel.unacked_index_key, tag)
                        pipe.hdel(channel.unacked_key, tag)
                        pipe.execute()

    # --- any other broker: take out, and give back at the end what stays

    def _by_consuming(self, connection: Any, queue: Any) -> None:
        with _channel(connection) as channel:
            bound = queue(channel)
            kept = []
            for _ in range(bound.queue_declare(passive=True).message_count):
                received = bound.get(no_ack=False)
                if received is None:
                    break
                found = _of_kombu(received)
                if self._adopt(found, queue.name) and not self._dry_run:
                    received.ack()
                else:
                    kept.append(received)
            # Last first: each goes back to the place that it was taken from.
            for received in reversed(kept):
                received.requeue()

    # --- one message

    def _adopt(self, found: message.StoredMessage | None, queue: str) -> bool:
        """Store a message in the timer, if it is the timer's; whether it may leave the broker."""
        if found is None or not found.headers.get("eta"):
            self.report.kept += 1
            return False
        try:
            due_ms = eta_of(found.headers["eta"])
            if due_ms < (time.time() + self._at_least) * 1000:
                self.report.kept += 1
                return False
            event_id = check_id(found.headers.get("id"))
            settings = self._extension.settings
            found.headers["eta"] = None
            payload = message.encode(found, event_id, queue)
            check_payload(payload, settings.max_payload)
            if not self._dry_run:
                event = NewEvent(event_id, payload, "at", due_ms, settings.max_redeliveries, queue)
                # One that was stored before, by a run that was killed between storing and removing, is kept.
                self._extension.shards.post([event], conflict="keep")
        except (DTimerError, TypeError, ValueError) as exc:
            if isinstance(exc, ConnectionError):
                raise
            self.report.failed.append((str(found.headers.get("id", "?")), str(exc)))
            return False
        self.report.adopted.append(event_id)
        return True


def held_by_workers(app: Any, timeout: float = 1.0) -> set[str]:
    """Return the ids of the tasks that the workers which answer hold in their memory."""
    inspect = app.control.inspect(timeout=timeout)
    held: set[str] = set()
    for answers in (inspect.scheduled(), inspect.reserved(), inspect.active()):
        for tasks in (answers or {}).values():
            held.update(task.get("request", task)["id"] for task in tasks)
    return held


def _of_redis(raw: Any) -> message.StoredMessage | None:
    """What kombu's Redis transport stores, or None if it is no task of protocol 2."""
    stored = loads(raw) if isinstance(raw, bytes | str) else raw
    headers, properties = stored.get("headers") or {}, stored.get("properties") or {}
    if "task" not in headers:
        return None
    body = stored["body"]
    data = base64.b64decode(body) if properties.get("body_encoding") == "base64" else body.encode()
    info = properties.get("delivery_info") or {}
    return message.StoredMessage(
        body=data,
        content_type=stored["content-type"],
        content_encoding=stored["content-encoding"],
        headers=dict(headers),
        properties={name: value for name, value in properties.items() if name not in OF_THE_BROKER},
        exchange=info.get("exchange") or "",
        routing_key=info.get("routing_key") or "",
    )


def _of_kombu(received: Any) -> message.StoredMessage | None:
    headers = received.headers or {}
    if "task" not in headers:
        return None
    body = received.body
    info = received.delivery_info or {}
    return message.StoredMessage(
        body=body.encode() if isinstance(body, str) else bytes(body),
        content_type=received.content_type,
        content_encoding=received.content_encoding,
        headers=dict(headers),
        properties={name: value for name, value in received.properties.items() if name not in OF_THE_BROKER},
        exchange=info.get("exchange") or "",
        routing_key=info.get("routing_key") or "",
    )


@contextmanager
def _channel(connection: Any) -> Iterator[Any]:
    channel = connection.channel()
    try:
        yield channel
    finally:
        channel.close()
