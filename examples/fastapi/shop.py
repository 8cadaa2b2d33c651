"""A shop whose web service posts reminders, looks at them, and takes them back, all awaited."""

import os
from datetime import datetime

from celery import Celery
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

import celery_dtimer
from celery_dtimer import EventExistsError, TimerResult, dtimer_task

REDIS = os.environ.get("REDIS_URL", "redis://localhost:6379")
REMIND_AFTER = float(os.environ.get("SHOP_REMIND_AFTER", "86400"))  # seconds

celery_app = Celery("shop", broker=f"{REDIS}/1", backend=f"{REDIS}/2")
celery_app.conf.dtimer_url = f"{REDIS}/0"
celery_dtimer.install(celery_app)
celery_app.set_default()
app = FastAPI(title="A shop that reminds")


class Reminder(BaseModel):
    """A reminder that waits."""

    id: str
    state: str
    due_at: datetime


@dtimer_task
def remind(order_id: str) -> str:
    """Send the mail, in a worker."""
    return f"please pay {order_id}"


def reminder_of(order_id: str) -> TimerResult[str]:
    """Return the reminder of an order: its id is made of the order's."""
    return TimerResult(f"remind-{order_id}", app=celery_app)


@app.post("/orders/{order_id}", status_code=201)
async def order(order_id: str) -> Reminder:
    """Take an order, and post its reminder."""
    try:
        await remind.apost((order_id,), delay=REMIND_AFTER, task_id=reminder_of(order_id).id)
    except EventExistsError:
        raise HTTPException(409, "this order is there already") from None
    return await look(order_id)


@app.get("/orders/{order_id}/reminder")
async def look(order_id: str) -> Reminder:
    """Say when the reminder is due."""
    info = await reminder_of(order_id).apeek()
    if info is None:
        raise HTTPException(404, "there is no reminder, or it has been sent")
    return Reminder(id=info.id, state=info.state, due_at=info.due_at)


@app.patch("/orders/{order_id}/reminder")
async def move(order_id: str, delay: float) -> Reminder:
    """Let the reminder be due so many seconds from now."""
    if not await reminder_of(order_id).achange_delay(delay):
        raise HTTPException(409, "it is being sent, or has been, or never was")
    return await look(order_id)


@app.delete("/orders/{order_id}/reminder", status_code=204)
async def forget(order_id: str) -> None:
    """Take the reminder back: the order is paid."""
    if not await reminder_of(order_id).acancel():
        raise HTTPException(409, "it is being sent, or has been, or never was")
