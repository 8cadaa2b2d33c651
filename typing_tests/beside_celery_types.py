"""What checkers know beside that where celery-types is installed. Each line that ends with ``# wrong`` has an error."""

from typing import Any, assert_type

from celery import Celery, Signature, Task, shared_task
from celery.result import AsyncResult

from celery_dtimer import DTimerTask, TimerResult, dtimer_task, install, timed
from typing_tests.tasks import remind, total


class Shop(Celery[Any]):
    """An app class of one's own."""


app = install(Celery("typed", task_cls=DTimerTask[..., Any]))
other = install(Celery("other"))


@shared_task
def shared(name: str) -> int:
    return len(name)


@timed
@shared_task(name="timed")
def shared_and_timed(name: str) -> int:
    return len(name)


@timed
@other.task(name="of the app")
def of_the_app(name: str) -> int:
    return len(name)


@app.task(name="of the class")
def of_the_class(name: str) -> int:
    return len(name)


@dtimer_task(bind=True)
def bound(self: Task[..., Any], name: str) -> int:
    return len(name) + self.request.retries


@dtimer_task(bind=True)  # wrong
def without_self(name: str) -> int:
    return len(name)


def any_task(task: Task[..., Any]) -> AsyncResult[Any]:
    return task.delay()


assert_type(install(Shop("shop"), url="redis://localhost:6379/0"), Shop)
assert_type(timed(shared).post_in(60, "a"), TimerResult[int])
assert_type(shared_and_timed.post_in(60, name="a"), TimerResult[int])
assert_type(of_the_app.post_in(60, "a"), TimerResult[Any])
assert_type(of_the_class.post_in(60, "a"), TimerResult[Any])
assert_type(bound.post_in(60, "a"), TimerResult[int])
assert_type(remind.s("1001"), Signature[int])
assert_type(total.si(1), Signature[int])
assert_type(remind.post_in(60, "1001").ready(), bool)
assert_type(remind.acks_late, bool)
any_task(remind)

shared.post_in(60, "a")  # wrong
shared_and_timed.post_in(60, 3)  # wrong
late: TimerResult[str] = remind.post_in(60, "1001")  # wrong
only_a_number: DTimerTask[[int], int] = remind  # wrong
number: int = remind  # wrong
remind.post_in(60, "1001").redy()  # wrong
remind.nmae  # wrong
