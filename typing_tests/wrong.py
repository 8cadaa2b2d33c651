"""Wrong calls: checkers find an error in each line that ends with ``# wrong``, and in no other. Nothing runs them."""

from datetime import UTC, datetime
from typing import Any

from celery import Celery

from celery_dtimer import AsyncDTimer, Delivery, DTimer, Post, TaskPost, dtimer_task, get_timer, install
from typing_tests.tasks import import_books, rebuild_index, remind, send_mail, total

SOON = datetime(2100, 1, 1, tzinfo=UTC)
app: Celery = install(Celery("typed"))
timer = get_timer(app)
alone = DTimer("redis://localhost:6379/0")

# The task's own arguments.
remind.post_in(60)  # wrong
remind.post_in(60, 1001)  # wrong
remind.post_in(60, "1001", nonsense=3)  # wrong
remind.post_in(60, "1001", "now", True)  # wrong
remind.post_in(60, "1001", urgent="yes")  # wrong
remind.post_in(60, "1001", order_id="1001")  # wrong
remind.post_in("60", "1001")  # wrong
remind.post_in(None, "1001")  # wrong
remind.post_in(delay=60, order_id="1001")  # wrong
remind.post_in(60, "1001", queue="mail")  # wrong
remind.post_at(60, "1001")  # wrong
remind.post_at(SOON, ["1001"])  # wrong
send_mail.post_in(60)  # wrong
send_mail.post_in(60, send_mail, "a@example.org")  # wrong
send_mail.post_at(SOON, address=None)  # wrong
rebuild_index.post_in(30, "books", "films")  # wrong
total.post_in(60, 1, "2")  # wrong
import_books.post_in(60, shelf="3")  # wrong

# Options.
remind.post("1001", 60)  # wrong
remind.post(("1001",), delay="60")  # wrong
remind.post(("1001",), delay=60, countdown=3)  # wrong
remind.post(("1001",), delay=60, que="mail")  # wrong
remind.post(("1001",), delay=60, priority="high")  # wrong
remind.post(("1001",), delay=60, on_conflict="overwrite")  # wrong
remind.post(("1001",), delay=60, tags="order:1")  # wrong
remind.post(("1001",), delay=60, max_redeliveries="3")  # wrong
remind.post(("1001",), delay=60, key=3)  # wrong
remind.post_many([("1001",)], delay=60, task_id="one")  # wrong
remind.post_many("1001", delay=60)  # wrong
remind.post_many([TaskPost(("1001",), when=60)])  # wrong

# A result.
text: str = remind.post_in(60, "1001").get(timeout=3)  # wrong
remind.post_in(60, "1001").change_delay(SOON)  # wrong
remind.post_in(60, "1001").cancel(SOON)  # wrong
remind.post_in(60, "1001").peek().due_at  # wrong

# What Celery's tasks have.
remind(1001)  # wrong
remind.delay("1001", nonsense=3)  # wrong
total.si("1")  # wrong
remind.apply_async(("1001",), countdown="3")  # wrong
number: int = remind.name  # wrong

# Making tasks, and installing.
dtimer_task(max_redelivery=3)  # wrong
dtimer_task(on_conflict="overwrite")  # wrong
dtimer_task("remind")  # wrong
install(app, confirm_time=3)  # wrong
install(app, max_events="8")  # wrong
install(app, misfire="throw")  # wrong

# The timers.
timer.upcoming(limit="10")  # wrong
timer.cancel(3)  # wrong
DTimer(6379)  # wrong
alone.post(3, 60)  # wrong
alone.post("text", 60, on_conflict="overwrite")  # wrong
alone.post_many([Post("text", 60, ids="one")])  # wrong
alone.confirm("id")  # wrong


@alone.on_event  # wrong
def of_text(delivery: str) -> None:
    print(delivery)


@alone.on_event  # wrong
def of_nothing() -> None:
    pass


@dtimer_task(bind=True)  # wrong
def unbound() -> None:
    pass


@dtimer_task(bind=True)
def bound(self: Any, number: int) -> int:
    return number


def on_event(delivery: Delivery) -> None:
    print(delivery.ids)  # wrong


bound.post_in(60, "3")  # wrong


async def awaited() -> None:
    await remind.apost_in(60, 1001)  # wrong
    await remind.apost_at(SOON, "1001", nonsense=3)  # wrong
    await remind.apost(("1001",), delay=60, que="mail")  # wrong
    async with AsyncDTimer("redis://localhost:6379/0", max_event=4) as timer:  # wrong
        await timer.post(3, 60)  # wrong
        timer.on_event(on_event)  # wrong
