"""taskiq: a worker, and a scheduler that looks each second at a list in Redis."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import peer
from taskiq import TaskiqScheduler
from taskiq_redis import ListQueueBroker, ListRedisScheduleSource

broker = ListQueueBroker(peer.URL)
source = ListRedisScheduleSource(peer.URL)
scheduler = TaskiqScheduler(broker, [source])


@broker.task(task_name="note")
async def note(due: float, text: str) -> None:
    """A job."""
    peer.note(due)


def work() -> None:
    """Run two processes of a worker, its default, and the scheduler."""
    program = Path(sys.executable).with_name("taskiq")
    here = Path(__file__).parent
    each_second = ["--update-interval", "1", "--skip-first-run"]
    started = [
        subprocess.Popen([program, "scheduler", "taskiq_peer:scheduler", *each_second], cwd=here),
        subprocess.Popen([program, "worker", "taskiq_peer:broker"], cwd=here),
    ]
    try:
        started[1].wait()
    finally:
        for process in started:
            process.terminate()


async def post(instants: list[float]) -> None:
    """Post one by one."""
    await source.startup()
    peer.begin()
    for due in instants:
        await note.schedule_by_time(source, datetime.fromtimestamp(due, UTC), due, peer.padding())
    await source.shutdown()


if __name__ == "__main__":
    peer.main(work, post)
