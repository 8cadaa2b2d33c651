"""Posts on commit, in a Django project: right calls, and wrong ones, in which checkers find an error."""

from typing import Any

from celery_dtimer import TimerResult
from celery_dtimer.django import dtimer_task


@dtimer_task
def remind(order_id: int, *, text: str = "please pay") -> bool:
    return bool(order_id and text)


@dtimer_task(bind=True, max_redeliveries=3)
def send_mail(self: Any, address: str) -> int:
    return len(address)


result: TimerResult[bool] = remind.post_in_on_commit(60, 17, text="really")  # right
paid: bool = remind.post_on_commit((17,), delay=60, using="other", robust=True, queue="mail").get()  # right
remind.post_at_on_commit("2100-01-01T12:00+02:00", 17)  # right
send_mail.post_in_on_commit(60, "a@example.org")  # right
remind.post_in(60, 17).cancel()  # right

remind.post_in_on_commit(60, "17")  # wrong
remind.post_in_on_commit(60, 17, using="other")  # wrong
remind.post_at_on_commit(60, 17)  # wrong
remind.post_on_commit((17,), delay=60, robust="yes")  # wrong
remind.post_on_commit((17,), delay=60, usin="other")  # wrong
send_mail.post_in_on_commit(60)  # wrong
