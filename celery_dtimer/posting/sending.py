"""The one place that every call of a task passes: ``app.send_task``. Posts and takeovers turn off here."""

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from typing import Any

from celery_dtimer.celery_patches.apps import Native, known_task, running_request
from celery_dtimer.extension import DELIVERY_HEADER, DeliveryInfo, Extension, extension_of
from celery_dtimer.posting.awaiting import put_off
from celery_dtimer.posting.eta import delay_of, eta_of
from celery_dtimer.posting.groups import Members, members_of
from celery_dtimer.posting.native import NativeCall, Retried
from celery_dtimer.posting.options import POSTING_OPTION, SEND_TASK, checked
from celery_dtimer.posting.patience import retry_policy
from celery_dtimer.posting.posting import Posting
from celery_dtimer.posting.preparing import timer_options_of
from celery_dtimer.posting.producer import TimerProducer
from celery_dtimer.posting.result import timed
from celery_dtimer.posting.routing import is_for_another_broker
from celery_dtimer.timer.times import ms_to_datetime

logger = logging.getLogger(__name__)

#: Parameters of ``send_task`` that say when the message goes out and through what: of a post, the timer decides both.
DECIDED = ("countdown", "eta", "producer", "publisher", "connection", "retry")


def wrap_send_task(app: Any) -> None:
    """Let the timer have the posts, and the calls that it takes over; the other calls go on as they came."""
    native = Native(app, "send_task")

    @wraps(app.send_task)
    def send_task(*given: Any, **options: Any) -> Any:
        posting = options.pop(POSTING_OPTION, None)
        call = dict(zip(SEND_TASK, given, strict=False))
        for name in call.keys() & options.keys():
            raise TypeError(f"send_task() got multiple values for argument {name!r}")
        call.update(options)
        if posting is None and "name" in call:
            posting = posting_for(extension_of(app), call)
        if posting is None:
            # As it came: a mock sees the call that was made.
            return native.method(*given, **options)
        # Celery builds and sends the message, without its eta, and with a producer of ours. With a connection, it
        # would make a producer of its own.
        kept = {name: value for name, value in call.items() if name not in DECIDED}
        if app.conf.task_send_sent_event:
            kept["event_dispatcher"] = SentEvents(app, posting)
        producer = TimerProducer(
            extension_of(app), posting, retry_policy(app, call), named=call.get("queue") is not None
        )
        head = (kept.pop("name"), kept.pop("args", None), kept.pop("kwargs", None))
        try:
            result = timed(native.method(*head, **{**kept, "producer": producer, "retry": False}))
        finally:
            producer.close()
        if isinstance(posting.batch, Members) and posting.batch.enough:
            posting.batch.flush()
        return result

    app.send_task = send_task


def posting_for(extension: Extension, call: Mapping[str, Any]) -> Posting | None:
    """Return the Posting of a call that is no post, or None if the broker sends it.

    The timer takes what ``dtimer_takeover`` says. It takes a retry of a fired task whatever its delay, as long as that
    keeps the queue: its event is in the timer, and so is the retry.

    Args:
        extension: The app's timer.
        call: The parameters of ``send_task``.

    Raises:
        InvalidDelayError: Neither Celery nor the timer can read the countdown or the eta.
    """
    retried = _retried(call)
    if retried is None and not ((call.get("countdown") or call.get("eta")) and extension.takes_over):
        return None
    members = members_of(call)
    if is_for_another_broker(extension.app, call) if members is None else members.are_elsewhere(call):
        return None
    threshold = extension.settings.takeover if extension.takes_over else None
    clock, when_ms, wait_ms = _when(call)
    # An instant that is over is no delay, whatever the threshold.
    taken_over = threshold is not None and wait_ms >= threshold * 1000 and wait_ms > 0
    if retried is None and not taken_over:
        return None
    native = NativeCall(call, retried, taken_over=taken_over)
    if retried is not None:
        delivery = retried.delivery
        return Posting(
            clock, when_ms, delivery.max_redeliveries, "follow", native=native, origin=delivery.key, tags=delivery.tags
        )
    # The task's own options, if this process knows the task. The default is "replace", since Celery sends two messages
    # for one id if its caller asks for it twice; the timer has one event.
    task = call.get("task_type") or known_task(extension.app, call.get("name"))
    options = checked(timer_options_of(task), on_conflict="replace")
    # Another policy's refusal is the error of that one call.
    batch = members if options["on_conflict"] == "replace" else None
    return Posting(clock, when_ms, **options, native=native, batch=batch)


def _retried(call: Mapping[str, Any]) -> Retried | None:
    """Return the delivery that is being retried: of the task that runs here, if the timer has fired it.

    Another call under a fired task's id that is no retry of it goes where Celery sends it.
    """
    request = running_request()
    if request is None or request.id != call.get("task_id") or (call.get("retries") or 0) <= (request.retries or 0):
        return None
    info: DeliveryInfo | None = getattr(request, DELIVERY_HEADER)
    return None if info is None else Retried(info, {**(request.delivery_info or {})})


def _when(call: Mapping[str, Any]) -> tuple[Any, int, float]:
    """Return the clock and the instant or delay of a posting, and the milliseconds from now.

    As for Celery, a countdown of 0 is none, and a countdown goes before an eta.
    """
    countdown, eta = call.get("countdown"), call.get("eta")
    if eta and not countdown:
        when_ms = eta_of(eta)
        return "at", when_ms, when_ms - time.time() * 1000
    when_ms = delay_of(countdown or 0, "countdown")
    return "in", when_ms, when_ms


class SentEvents:
    """Sends ``task-sent`` monitoring events to the broker, where they belong, with the task's eta.

    A broker that is away is no reason to fail: the task is stored already.
    """

    def __init__(self, app: Any, posting: Posting) -> None:
        self._app = app
        self._batch = posting.batch
        if posting.clock == "at":
            eta = ms_to_datetime(posting.when_ms)
        else:
            # By this process's clock: the server's is not asked for that.
            eta = datetime.now(UTC) + timedelta(milliseconds=posting.when_ms)
        self._eta = eta.isoformat()

    def publish(self, kind: str, fields: dict[str, Any], producer: Any, **options: Any) -> None:
        """Publish with a producer of the broker's in place of ours, as soon as the task is stored."""
        del producer
        publish = partial(self._publish, kind, fields, options)
        later = put_off()
        if self._batch is not None:
            self._batch.tell_sent(fields["uuid"], publish)
        elif later is not None and later.events:
            later.events[-1].tell.append(publish)
        else:
            publish()

    def _publish(self, kind: str, fields: dict[str, Any], options: dict[str, Any]) -> None:
        # In place of the post's own retries: a post waits no longer for monitoring than for one more try.
        policy = {**self._app.conf.task_publish_retry_policy, "max_retries": 1}
        options = {**options, "retry": True, "retry_policy": policy}
        try:
            with self._app.amqp.producer_pool.acquire(block=True) as broker:
                self._app.events.Dispatcher(enabled=False, buffer_while_offline=False).publish(
                    kind, {**fields, "eta": self._eta}, broker, **options
                )
        except Exception as exc:  # noqa: BLE001 - any broker's any error
            event_id = fields.get("uuid")
            logger.warning(
                "dtimer: the task-sent event of task %s was not sent, and monitors do not know of it; the task is "
                "stored: %r",
                event_id,
                exc,
                extra={"dtimer_event": event_id},
            )
