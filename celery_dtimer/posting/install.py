"""install(app): the one line that an existing fleet adds."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from inspect import signature
from typing import Any

from celery.app.task import Context
from celery.local import maybe_evaluate

from celery_dtimer.extension import ATTRIBUTE, Extension, extension_of
from celery_dtimer.posting.producer import DELIVERY_HEADER, Posting, SentEvents, TimerProducer
from celery_dtimer.posting.result import TimerResult
from celery_dtimer.posting.takeover import posting_for
from celery_dtimer.posting.task import POSTING_OPTION, equip
from celery_dtimer.timer.dtimer import DTimer
from celery_dtimer.timer.times import ms_to_datetime

#: By its name: posting does not import firing.
STEP = "celery_dtimer.firing.bootstep:DTimerStep"


def install(app: Any, **settings: Any) -> Any:
    """Give a Celery app a timer: its workers listen, and its tasks get ``post_in``, ``post_at`` and ``post``.

    Call it where the app is made, before workers start; once more changes nothing but the settings given.

    Args:
        app: The Celery app.
        settings: Settings without their prefix (``url="redis://..."``); they go before the app's configuration.

    Returns:
        The app.

    Raises:
        SettingsError: Later, when the timer is first used or a worker starts, if a setting is wrong.
    """
    installed = getattr(app, ATTRIBUTE, None)
    if isinstance(installed, Extension):
        installed.give(settings)
        return app
    setattr(app, ATTRIBUTE, Extension(app, dict(settings)))
    app.steps["consumer"].add(STEP)
    # Named in Context's own class, Celery takes it for one of the request's fields, not for a header of the user's
    # that retries and children inherit; and it is None for a task that the timer did not fire.
    if not hasattr(Context, DELIVERY_HEADER):
        setattr(Context, DELIVERY_HEADER, None)
    app.send_task = _with_timer(app, app.send_task)
    _equip_all(app)
    return app


def get_timer(app: Any) -> DTimer:
    """Return a DTimer for the events of an app: to count, list or peek at them, and to post events of your own.

    It shares the app's connections, and is not meant to ``join``: the app's workers listen.

    Raises:
        NotInstalledError: ``install(app)`` was not called.
        SettingsError: A setting is wrong.
    """
    extension = extension_of(app)
    settings = extension.settings
    return DTimer(
        extension.shards.servers,
        settings.namespace,
        shards=settings.shards,
        confirm_timeout=settings.confirm_timeout,
        poll_interval=settings.poll_interval,
        queues=(app.conf.task_default_queue,),
        max_redeliveries=settings.max_redeliveries,
        max_payload=settings.max_payload,
        wait_replicas=settings.wait_replicas,
        wait_timeout=settings.wait_timeout,
        eviction_check=settings.eviction_check,
    )


def _equip_all(app: Any) -> None:
    """Equip the tasks that the app has, and those that it will have."""
    for name in ("_task_from_fun", "register_task"):
        setattr(app, name, _equipping(getattr(app, name)))
    for task in dict(app._tasks).values():  # noqa: SLF001 - app.tasks would finalize the app
        equip(task)
    # Tasks that were defined and not yet made: their promises keep the methods that the app had then.
    for promise in tuple(app._pending):  # noqa: SLF001 - the same
        promise.__then__(_equip_made, promise)


def _equip_made(promise: Any) -> None:
    equip(maybe_evaluate(promise))


def _equipping(register: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(register)
    def registered(*args: Any, **options: Any) -> Any:
        return equip(register(*args, **options))

    return registered


def _with_timer(app: Any, send_to_broker: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``app.send_task``, the one place that every call of a task passes."""
    after_producer = list(signature(send_to_broker).parameters)[7:]

    @wraps(send_to_broker)
    def send_task(
        name: str,
        args: Any = None,
        kwargs: Any = None,
        countdown: Any = None,
        eta: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        *more: Any,
        **options: Any,
    ) -> Any:
        posting = options.pop(POSTING_OPTION, None) or posting_for(
            extension_of(app), countdown, eta, task_id, options.get("task_type")
        )
        if posting is None:
            return send_to_broker(name, args, kwargs, countdown, eta, task_id, producer, *more, **options)
        options.update(zip(after_producer, more, strict=False))
        return _post(app, send_to_broker, posting, name, args, kwargs, task_id=task_id, **options)

    return send_task


def _post(
    app: Any,
    send_to_broker: Callable[..., Any],
    posting: Posting,
    name: str,
    args: Any,
    kwargs: Any,
    **options: Any,
) -> Any:
    """Let Celery build and send the message, without its eta, and with a producer of ours."""
    extension = extension_of(app)
    task_type = options.get("task_type")

    def result(task_id: str) -> TimerResult:
        return TimerResult(task_id, backend=task_type.backend if task_type else None, task_name=name, app=app)

    # With a connection, Celery would make a producer of its own.
    options.pop("connection", None)
    options.pop("publisher", None)
    retry = options.pop("retry", None)
    policy = {**app.conf.task_publish_retry_policy, **(options.get("retry_policy") or {})}
    retries = app.conf.task_publish_retry if retry is None else retry
    if app.conf.task_send_sent_event:
        options["event_dispatcher"] = SentEvents(app, _eta(posting))
    producer = TimerProducer(extension, posting, policy if retries else None)
    try:
        return send_to_broker(
            name, args, kwargs, producer=producer, **{**options, "retry": False, "result_cls": result}
        )
    finally:
        producer.close()


def _eta(posting: Posting) -> str:
    """The eta as monitors see it, by this process's clock: the server's is not asked for that."""
    if posting.clock == "at":
        return ms_to_datetime(posting.when_ms).isoformat()
    return (datetime.now(UTC) + timedelta(milliseconds=posting.when_ms)).isoformat()
