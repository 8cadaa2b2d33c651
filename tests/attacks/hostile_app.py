"""The app of the workers under attack: with the timer or without it, and tasks that write down that they ran."""

import os

import redis
from celery import Celery, Task

import celery_dtimer

app = Celery("att", broker=os.environ["ATTACK_BROKER"], backend=os.environ.get("ATTACK_BACKEND"))
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 3600},
    dtimer_url=os.environ["ATTACK_TIMER"],
    dtimer_confirm_timeout=float(os.environ.get("ATTACK_CONFIRM_TIMEOUT", "10")),
    dtimer_unknown_task_patience=float(os.environ.get("ATTACK_PATIENCE", "3600")),
)
if os.environ.get("ATTACK_PLAIN") != "1":
    celery_dtimer.install(app)

_clients: dict[int, redis.Redis] = {}


def client() -> redis.Redis:
    """A client of this process's own."""
    return _clients.setdefault(os.getpid(), redis.Redis.from_url(os.environ["ATTACK_RECORDS"]))


@app.task(name="att.good", bind=True, acks_late=True)
def good(self: Task, name: str) -> None:
    """A neighbour: it writes down each of its runs."""
    client().hincrby("ran", name, 1)


@app.task(name="att.victim")
def victim(*args: object, **kwargs: object) -> None:
    """What the hostile messages ask for, early acknowledged."""


@app.task(name="att.late_victim", acks_late=True)
def late_victim(*args: object, **kwargs: object) -> None:
    """The same, acknowledged when it has run."""


if os.environ.get("ATTACK_KNOWS") == "1":

    @app.task(name="att.unknown", bind=True, acks_late=True)
    def unknown(self: Task) -> None:
        """What other workers do not know."""
        client().hincrby("ran", self.request.id, 1)
