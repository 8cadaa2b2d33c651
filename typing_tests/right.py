"""Right calls. No checker finds anything in them, and tests/posting/test_typed_calls.py runs them.

Each line that ends with ``# right`` has one.
"""

import asyncio
import os
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from celery import Celery, chain, current_app, shared_task

import celery_dtimer
from celery_dtimer import AsyncDTimer, Delivery, DTimer, DTimerTask, Post, TaskPost, TimerResult, get_timer, timed
from typing_tests.tasks import Rebuild, import_books, rebuild_index, remind, send_mail, total

URL = os.environ.get("DTIMER_URL", "redis://localhost:6379/0")
SOON = datetime(2100, 1, 1, tzinfo=UTC)

app: Celery = celery_dtimer.install(Celery("typed", broker="memory://", backend="cache+memory://"), url=URL)  # right
settings: dict[str, Any] = {"max_redeliveries": 30}
celery_dtimer.install(app, **settings)  # right
celery_dtimer.install(app, confirm_timeout=timedelta(seconds=20), max_events=None, eviction_check="ignore")  # right
app.set_current()

# The task's own arguments.
remind.post_in(60, "1001")  # right
remind.post_in(1.5, "1001", "later")  # right
remind.post_in(timedelta(days=1), "1001", text="really", urgent=True)  # right
remind.post_in(60, order_id="1001", urgent=True)  # right
remind.post_at(SOON, "1001", urgent=False)  # right
remind.post_at("2100-01-01T12:00+02:00", "1001")  # right
send_mail.post_in(60, "a@example.org")  # right
send_mail.post_at(SOON, address="a@example.org")  # right
rebuild_index.post_in(30, "books")  # right
total.post_in(60)  # right
total.post_in(60, 1, 2, 3)  # right
import_books.post_in(60, shelf=3)  # right
later = partial(remind.post_in, 86_400, "1001")  # right
results: list[TimerResult[int]] = [later()]  # right

rebuild = Rebuild()
app.register_task(rebuild)
results.append(rebuild.post_in(60, "A", 3))  # right

# Options.
remind.post(("1001",), delay=60)  # right
remind.post(["1001"], {"urgent": True}, eta=SOON, queue="mail", priority=3, expires=200_000)  # right
remind.post(
    ("1001",), delay=60, task_id="one", on_conflict="keep", tags=["order:1"], jitter=timedelta(seconds=5)
)  # right
remind.post(("1001",), delay=60, link=total.si(1), link_error=[rebuild_index.si("books")], headers={"a": 1})  # right
remind.post(("1001",), delay=60, max_redeliveries=None, key=str.lower)  # right
remind.post(("1001",), delay=60, link=chain(total.si(1, 2), total.s(3)), ignore_result=True, shadow="reminder")  # right
more: dict[str, Any] = {"of_a_router": 3}
remind.post(("1001",), delay=60, **more)  # right
results += remind.post_many([("1001",), ["1002", "later"]], delay=60, spread=20, tags=("order:1",))  # right
rows: list[list[str]] = [["1005"], ["1006", "later"]]
results += remind.post_many(rows, delay=60) + remind.post_many(((row[0],) for row in rows), delay=60)  # right
results += remind.post_many([TaskPost(("1003",), delay=5, options={"task_id": "three"}), ("1004",)], eta=SOON)  # right

# A result.
timer = remind.post_in(60, "1001")
moved = timer.change_delay(timedelta(hours=1), if_due_at=None).due_at if timer.peek() else None  # right
held: bool = bool(timer.change_eta(SOON, if_due_at=moved)) and timer.state == "REVOKED"  # right
ended: str = timer.id if timer.cancel() else str(timer.run_now())  # right

# What Celery's tasks have.
count: int = remind("1001", urgent=True) + total(1, 2)  # right
checked: bool = send_mail("a@example.org")  # right
sent = [remind.delay("1001"), remind.apply_async(("1001",), {"text": "now"}, countdown=3, queue="mail")]  # right
names: list[str] = [remind.name, remind.AsyncResult(timer.id).id, str(remind.s(urgent=True)), str(total.si(1))]  # right
lazy: bool = remind.acks_late and import_books.max_retries is None  # right


def length(name: str) -> int:
    return len(name)


plain = timed(shared_task(name="plain")(length))  # right
any_task: list[DTimerTask[..., Any]] = [remind, send_mail, total, import_books, plain]
for task in any_task:
    print(task.name, task.app.main, callable(task.post_in))
plain.post_in(60, "books")  # right

# The timers.
print(get_timer(current_app).count().pending)  # right
for event in get_timer(app).upcoming(60, timedelta(days=40_000), limit=10, tag="order:1"):  # right
    print(event.task, event.due_at.isoformat())  # right
print(get_timer(app).count(duration=60).pending, [answer.id for answer in get_timer(app).cancel_many(["one"])])  # right

alone = DTimer(URL, namespace="alone", max_events=4, confirm_timeout=timedelta(seconds=5), queues=["default"])  # right
seen: list[Delivery] = []
alone.on_event(seen.append)  # right
alone.on_event(lambda delivery: delivery.payload)  # right


@alone.on_error
def on_error(error: BaseException) -> str:
    return str(error)


@alone.on_event
def on_event(delivery: Delivery) -> bool:
    return alone.confirm(delivery)


print(on_error(OSError("as a function")), date(2100, 1, 1))
ids: list[str] = [alone.post(b"bytes", 60), alone.post("text", eta=SOON, on_conflict="replace", id="one")]  # right
ids += alone.post_many([Post("text", delay=60), Post(b"bytes", eta=SOON)])  # right
print([bool(alone.cancel(one)) for one in ids])  # right
alone.close()  # right


async def awaited() -> None:
    result = await remind.apost_in(60, "1001", urgent=True)  # right
    await remind.apost(("1001",), delay=60, queue="mail", tags=["order:1"])  # right
    print(await result.apeek(), await result.acancel())  # right
    async with AsyncDTimer(URL, namespace="awaited") as timer:  # right

        @timer.on_event
        async def handle(delivery: Delivery) -> int:
            print(handle, await timer.confirm(delivery))
            return 3

        print(await timer.cancel(await timer.post("text", 60)))  # right


asyncio.run(awaited())
get_timer(app).cancel_many(event.id for event in get_timer(app).upcoming(limit=100))  # right
