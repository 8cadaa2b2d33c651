"""huey, with its defaults: the scheduler looks once a second."""

import time

import peer
from huey import RedisHuey
from huey.consumer import Consumer

huey = RedisHuey("bench", url=peer.URL, results=False)


@huey.task()
def note(due: float, text: str) -> None:
    """A job."""
    peer.note(due)


def work() -> None:
    """Run jobs in threads."""
    Consumer(huey, workers=peer.CONCURRENCY, periodic=False).run()


def post(instants: list[float]) -> None:
    """Post one by one."""
    huey.storage.conn.ping()
    peer.begin()
    for due in instants:
        note.schedule((due, peer.padding()), delay=max(0.0, due - time.time()))


peer.main(work, post)
