"""Fires due events in this process: as a worker does, with Celery's own request and tracer, one after the other."""

import os
import time
import uuid
from collections.abc import Callable
from typing import Any

from celery.app.trace import build_tracer
from celery.exceptions import NotRegistered, TaskRevokedError
from celery.result import denied_join_result
from celery.signals import task_received
from celery.utils.time import maybe_iso8601
from celery.worker import state
from celery.worker.strategy import proto1_to_proto2
from kombu.utils.imports import symbol_by_name

from celery_dtimer.celery_patches.worker import show_etas
from celery_dtimer.extension import DELIVERY_HEADER, DeliveryInfo, Extension
from celery_dtimer.firing.backoff import backoff_ms
from celery_dtimer.firing.misfires import LONG_AGO, Misfires
from celery_dtimer.message import StoredMessage, decode
from celery_dtimer.testing.tasks import message_of
from celery_dtimer.timer.events import Delivery, Verdict
from celery_dtimer.timer.times import eta_to_ms, ms_to_datetime

#: The holder, as ``peek`` shows it, of what a test runs itself.
HOLDER = f"test@{os.getpid()}"


class InProcess:
    """The worker of a test that has none.

    Args:
        extension: The app's timer.
    """

    def __init__(self, extension: Extension) -> None:
        self._extension = extension
        self._listener = uuid.uuid4().hex[:16]
        self._claims = 0
        show_etas()

    def fire(self, event_id: str, queue: str, due_ms: int, now_ms: int, *, alone: bool) -> bool:
        """Run an event that is due; false if it can't be claimed.

        Args:
            event_id: Its id.
            queue: Its queue.
            due_ms: When it is due.
            now_ms: The test's time.
            alone: Whether nothing else is due. If not, it is made due a millisecond before all others first.

        Raises:
            celery.exceptions.NotRegistered: The app has no task of its name; it waits again.
        """
        store = self._extension.shards.of(event_id)
        if not alone and not store.change(event_id, "at", due_ms - 1, if_due_ms=due_ms):
            return True  # one that ran before it has cancelled or moved it
        self._claims += 1
        call = store.claim(
            [queue],
            listener=self._listener,
            holder=HOLDER,
            nonce=f"{self._listener}{self._claims:x}",
            room=1,
            lease_ms=round(self._extension.settings.confirm_timeout * 1000),
            ahead_ms=0 if alone else due_ms - 1 - now_ms,
        )
        claimed = store.read_claim(store.ask(call), [queue])
        if claimed.parked:
            self._extension.counters.parked(claimed.parked, [queue])
        for delivery in claimed.deliveries:
            its_due_ms = delivery.due_ms if alone or delivery.id != event_id else due_ms
            _Run(self._extension, delivery, its_due_ms, now_ms).run()
        return bool(claimed.deliveries or claimed.parked)


class _Run:
    """One delivery, which is decided once: confirmed, released or parked."""

    def __init__(self, extension: Extension, delivery: Delivery, due_ms: int, now_ms: int) -> None:
        self._extension = extension
        self._delivery = delivery
        self._due_ms = due_ms
        self._now_ms = now_ms
        self._decided = False

    def run(self) -> None:
        """Run its task, unless it is too late for it."""
        try:
            self._fire(decode(self._delivery.payload, self._delivery.id, self._delivery.queue))
        finally:
            self._decide("return")  # unless that was done: something raised that is no failure of the task

    def _fire(self, stored: StoredMessage) -> None:
        app, settings = self._extension.app, self._extension.settings
        lateness = max(0, self._now_ms - self._due_ms) / 1000
        message, body, headers, decoded = self._message(stored, lateness)
        name = _registered(app, headers["task"], settings.task_aliases or {})
        headers["task"] = name
        policy = Misfires(app.tasks, settings).decide(self._delivery, headers)
        if policy is not None and policy.misfire == "park":
            self._decide("park", reason=f"later than its grace of {policy.grace:g} s")
            return
        if policy is not None or is_expired(headers, self._now_ms):
            headers["expires"] = LONG_AGO
        task = app.tasks[name]
        request = symbol_by_name(task.Request)(
            message,
            app=app,
            task=task,
            hostname=HOLDER,
            on_ack=lambda *_: self._decide("confirm"),
            on_reject=lambda _logger, _errors, requeue: self._rejected(requeue=requeue),
            headers=headers,
            body=body,
            decoded=decoded,
        )
        task_received.send(sender=self, request=request)
        self._extension.counters.fired(self._delivery, stored, lateness)
        try:
            request.execute_using_pool(_ThisProcess(app, (body, message)[not decoded]))
        except TaskRevokedError:
            # Celery would discard a later event of the same id too.
            state.revoked.discard(request.id)
        finally:
            state.task_ready(request)  # unless that was done: what ends the test ends it before Celery does that

    def _message(self, stored: StoredMessage, lateness: float) -> tuple[Any, Any, dict[str, Any], bool]:
        delivery = self._delivery
        info = DeliveryInfo(
            due_at=ms_to_datetime(self._due_ms),
            lateness=lateness,
            redeliveries=delivery.redeliveries,
            max_redeliveries=delivery.max_redeliveries,
            queue=delivery.queue,
            key=delivery.key,
            tags=delivery.tags,
        )
        where = {"exchange": stored.exchange, "routing_key": stored.routing_key}
        message = message_of(
            stored,
            {**stored.headers, DELIVERY_HEADER: info},
            delivery_info={**where, "redelivered": delivery.redeliveries > 0},
        )
        if "task" in stored.headers:
            return message, None, dict(message.headers), False
        body, headers, _, _ = proto1_to_proto2(message, message.payload)
        return message, body, {**headers, DELIVERY_HEADER: info}, True

    def _rejected(self, *, requeue: bool) -> None:
        if requeue:
            self._decide("release", backoff_ms(self._delivery), "its task was requeued")
        else:
            self._decide("park", reason="its task was rejected")

    def _decide(self, action: str, delay_ms: int = 0, reason: str = "") -> None:
        if self._decided:
            return
        self._decided = True
        if self._delivery.token:
            store = self._extension.shards[self._delivery.shard]
            verdict = Verdict(self._delivery, action, delay_ms, reason)
            self._extension.counters.answered([verdict], store.ask(store.verdicts(self._delivery.queue, [verdict])))


class _ThisProcess:
    """A pool for one request, which it runs at once."""

    def __init__(self, app: Any, content: Any) -> None:
        self._app = app
        self._content = content

    def apply_async(
        self, _trace: Any, args: tuple[Any, ...], accept_callback: Any, callback: Callable[[Any], None], **_: Any
    ) -> None:
        """Run it with a tracer of its own: the task's may have been made for another result backend."""
        name, task_id, request = args[:3]
        arguments, keywords, embedded = getattr(self._content, "payload", self._content)
        accept_callback(os.getpid(), time.monotonic())
        task = self._app.tasks[name]
        request.update({"args": arguments, "kwargs": keywords, "is_eager": False, **(embedded or {})})
        # As in a worker: a task that waits for another would wait for ever.
        with denied_join_result():
            result, info, runtime, text = build_tracer(name, task, app=self._app)(task_id, arguments, keywords, request)
        callback((1, result, runtime) if info else (0, text, runtime))


def _registered(app: Any, name: str, aliases: Any) -> str:
    known = name
    while known not in app.tasks and known in aliases:
        known = aliases[known]
    if known not in app.tasks:
        raise NotRegistered(f"{name}: the app has no such task; import its module in the test")
    return known


def is_expired(headers: Any, now_ms: int) -> bool:
    """Whether a message says that its task has expired by then."""
    expires = headers.get("expires")
    return bool(expires) and now_ms > eta_to_ms(maybe_iso8601(expires), "expires", naive_in_utc=True)
