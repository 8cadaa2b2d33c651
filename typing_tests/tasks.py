"""The tasks whose calls are checked."""

from typing import Any

from celery_dtimer import DTimerTask, dtimer_task


@dtimer_task
def remind(order_id: str, text: str = "now", *, urgent: bool = False) -> int:
    return len(order_id + text) + urgent


@dtimer_task(bind=True, max_redeliveries=3, time_limit=60, autoretry_for=(OSError,), tags=["mail"])
def send_mail(self: DTimerTask[..., Any], address: str) -> bool:
    return self.request.dtimer is None and "@" in address


@dtimer_task(key="rebuild:{name}", on_conflict="postpone", max_wait=300)
def rebuild_index(name: str) -> None:
    del name


@dtimer_task(name="total", acks_late=False, misfire="drop", grace=5)
def total(*numbers: int) -> int:
    return sum(numbers)


class Rebuild(DTimerTask[[str, int], int]):
    """A task that is a class."""

    name = "rebuild"
    max_retries = None

    def run(self, shelf: str, count: int = 3) -> int:
        return len(shelf) * count


class Patient(DTimerTask[..., Any]):
    """A task class of one's own."""

    abstract = True
    acks_late = False
    dtimer_options = {"max_redeliveries": 100}  # noqa: RUF012 - as users do


@dtimer_task(bind=True, base=Patient)
def import_books(self: Patient, shelf: int) -> dict[str, int]:
    return {self.name: shelf}
