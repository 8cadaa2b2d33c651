"""A project that Flower watches: monitoring events are on."""

import os

from celery import Celery

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_takeover=0.1,
    worker_send_task_events=True,
    task_send_sent_event=True,
)
celery_dtimer.install(app)


@app.task(bind=True)
def note(self, name):
    return [name, self.request.dtimer is not None]


def call():
    """Two tasks that are fired, and one that waits; when they are due, of the two."""
    fired = {"posted": note.post_in(0.5, "posted"), "taken": note.apply_async(("taken",), countdown=0.5)}
    due = {name: result.peek().due_at.timestamp() for name, result in fired.items()}
    ids = {name: result.id for name, result in fired.items()} | {"waits": note.post_in(3600, "waits").id}
    return {"ids": ids, "due": due}


def waiting():
    return [event.id for event in celery_dtimer.get_timer(app).upcoming()]
