"""What checkers make of tasks and their calls, with Celery's types and without."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, assert_type

from celery import Celery

from celery_dtimer import (
    Answer,
    AsyncDTimer,
    Delivery,
    DeliveryInfo,
    DTimer,
    DTimerTask,
    TaskInfo,
    TaskTimer,
    TimerResult,
    UpcomingTask,
    dtimer_task,
    get_timer,
    install,
    timed,
)
from typing_tests.tasks import import_books, rebuild_index, remind, send_mail, total


@dtimer_task()
def empty() -> None: ...


@dtimer_task(bind=False, name="flag")
def flag(value: bool) -> bool:
    return value


@dtimer_task(bind=True)
def bound(self: DTimerTask[..., Any], first: int, *rest: str, key: bytes = b"") -> list[str]:
    assert_type(self.name, str)
    assert_type(self.request.dtimer, DeliveryInfo | None)
    assert_type(self.request.id, str | None)
    assert_type(self.request.retries, int)
    assert_type(self.post_in(60), TimerResult[Any])
    if first:
        raise self.retry(countdown=5)
    return [*rest, key.decode()]


def plain(value: int) -> str:
    return str(value)


def results() -> None:
    result = remind.post_in(60, "1001")
    assert_type(result, TimerResult[int])
    assert_type(result.get(timeout=3), int)
    assert_type(result.id, str)
    assert_type(result.state, str)
    assert_type(result.peek(), TaskInfo | None)
    assert_type(result.cancel(), Answer)
    assert_type(result.change_delay(3), Answer)
    assert_type(remind.post_at(datetime.max, "1001"), TimerResult[int])
    assert_type(remind.post(("1001",), delay=60), TimerResult[int])
    assert_type(remind.post_many([("1001",)], delay=60), list[TimerResult[int]])
    assert_type(remind("1001"), int)
    assert_type(remind.delay("1001").get(), int)
    assert_type(remind.apply_async(("1001",), countdown=60), TimerResult[int])
    assert_type(remind.AsyncResult("id"), TimerResult[int])
    assert_type(send_mail.post_in(60, "a@example.org"), TimerResult[bool])
    assert_type(rebuild_index.post_in(60, "books"), TimerResult[None])
    assert_type(total.post_in(60, 1, 2), TimerResult[int])
    assert_type(import_books.post_in(60, 3), TimerResult[dict[str, int]])


async def awaited(timer: AsyncDTimer) -> None:
    result = await remind.apost_in(60, "1001")
    assert_type(result, TimerResult[int])
    assert_type(await remind.apost_at(datetime.max, "1001"), TimerResult[int])
    assert_type(await remind.apost(("1001",), delay=60), TimerResult[int])
    assert_type(await result.acancel(), Answer)
    assert_type(await timer.post("text", 60), str)


def decorators() -> None:
    assert_type(empty, DTimerTask[[], None])
    assert_type(flag.post_in(60, True), TimerResult[bool])
    assert_type(bound.post_in(60, 3, "a", "b", key=b"c"), TimerResult[list[str]])
    assert_type(dtimer_task(plain).post_in(60, 3), TimerResult[str])
    assert_type(dtimer_task(max_redeliveries=3, key="{value}")(plain).post_in(60, value=3), TimerResult[str])
    assert_type(timed(plain).post_in(60, 3), TimerResult[str])


def passed_on(post_in: Callable[[float, str], TimerResult[int]]) -> None:
    assert_type(post_in(60, "1001"), TimerResult[int])


def apps() -> None:
    timer = get_timer(install(Celery("shop"), url="redis://localhost:6379/0"))
    assert_type(timer, TaskTimer)
    assert_type(timer.upcoming(), list[UpcomingTask])
    assert_type(timer.peek("id"), TaskInfo | None)


def handlers(timer: DTimer) -> None:
    def confirm(delivery: Delivery) -> bool:
        return timer.confirm(delivery)

    called: Callable[[Delivery], bool] = timer.on_event(confirm)
    timer.on_error(print)
    timer.on_event(called)


passed_on(remind.post_in)
