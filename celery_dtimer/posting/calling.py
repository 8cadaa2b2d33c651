"""Making a post that has been checked: from what is known of its task's messages, or by Celery's own way."""

from collections.abc import Mapping
from typing import Any

import celery.app.base
from celery.exceptions import SoftTimeLimitExceeded

from celery_dtimer.extension import extension_of
from celery_dtimer.posting.known import Call, call_of, learn
from celery_dtimer.posting.options import POSTING_OPTION
from celery_dtimer.posting.posting import Posting
from celery_dtimer.posting.result import TimerResult, posted
from celery_dtimer.posting.storing import store
from celery_dtimer.posting.template import Lesson
from celery_dtimer.timer.checks import check_id, check_payload
from celery_dtimer.timer.events import NewEvent


def send(
    task: Any, args: tuple[Any, ...] | None, kwargs: dict[str, Any] | None, options: dict[str, Any]
) -> TimerResult[Any]:
    """Post what ``prepare`` has checked."""
    posting: Posting = options[POSTING_OPTION]
    call = _call_of(task, posting, options)
    if call is not None and call.known is not None:
        made = _post(task, args or (), kwargs or {}, options.get("task_id"), posting, call)
        if made is not None:
            return made
    lesson = Lesson() if call is not None and call.known is None else None
    if lesson is not None:
        options = {**options, POSTING_OPTION: posting._replace(lesson=lesson)}
    result: TimerResult[Any] = posted(task.apply_async(args, kwargs, **options), task.app)
    if lesson is not None and call is not None:
        learn(task, call, lesson)
    return result


def _call_of(task: Any, posting: Posting, options: Mapping[str, Any]) -> Call | None:
    if len(options) > 1 + ("task_id" in options):
        return None
    batch = posting.batch
    if batch is None:
        return call_of(task)
    call: Call | None = batch.call
    if call is None:
        call = call_of(task)
        if call is not None and call.known is not None:
            batch.call = call
    return call


def _post(
    task: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    task_id: str | None,
    posting: Posting,
    call: Call,
) -> TimerResult[Any] | None:
    """Do what Celery's way does for such a call, in its order; None if that has to be asked after all.

    Raises:
        TypeError: The task does not take these arguments.
    """
    app, parent, known = task.app, call.parent, call.known
    extension = extension_of(app)
    if known is None or known.template is None:
        return None
    template = known.template
    if task.typing and hasattr(task, "__header__"):
        task.__header__(*args, **kwargs)
    event_id = check_id(task_id or celery.app.base.uuid())
    root_id = parent_id = ""
    if parent is not None:
        root_id, parent_id = parent.request.root_id or parent.request.id, parent.request.id
        if root_id == event_id or not (type(root_id) is type(parent_id) is str):
            return None
    try:
        payload = template.payload(args, kwargs, app.thread_oid, root_id, parent_id)
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # noqa: BLE001 - whatever a serializer raises: Celery's own way says what is wrong
        return None
    settings, most = extension.settings_in(call.seen), posting.max_redeliveries
    event = NewEvent(
        event_id,
        check_payload(payload, settings.max_payload, limited_by="dtimer_max_payload"),
        posting.clock,
        posting.when_ms,
        settings.max_redeliveries if most is None else most,
        template.queue.name,
        template.kind,
        posting.tags,
    )
    if call.tell_backend:
        call.tell_backend(None, event_id)
    store(extension, event, posting, known.policy)
    result = task.AsyncResult(event_id)
    result.ignored = task.ignore_result
    if parent is not None:
        parent.add_trail(result)
    made: TimerResult[Any] = posted(result, app)
    return made
