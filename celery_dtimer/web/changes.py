"""The changes themselves, as the library makes them, and their answers in words."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from starlette.exceptions import HTTPException

from celery_dtimer.errors import ChangeManyError
from celery_dtimer.posting.task_timer import TaskTimer
from celery_dtimer.timer.checks import check_queue, check_task, check_why
from celery_dtimer.timer.events import Answer, State
from celery_dtimer.timer.legible import legible
from celery_dtimer.timer.options import CATCH_UP_AFTER
from celery_dtimer.timer.parked import Unparked
from celery_dtimer.web.forms import Form
from celery_dtimer.web.searching import Wanted, matching

#: Bytes of a user's name in a hold's note.
MOST_BY = 200


@dataclass(frozen=True)
class Verdict:
    """What became of a change.

    Attributes:
        done: How many events it was made to.
        names: What it was about: ids, or the queue or the task.
        refused: Ids of the others, and why.
        complete: Whether it was about all that match.
        answer: The library's, if it was about one event.
        note: What else is to be said.
    """

    done: int
    names: list[str]
    refused: list[tuple[str, str]] = field(default_factory=list)
    complete: bool = True
    answer: Answer | None = None
    note: str = ""


def _chosen(timer: TaskTimer, ids: list[str] | None, form: Form) -> tuple[list[str], bool]:
    if ids is not None:
        return ids, True
    found = matching(timer, Wanted.of(form))
    return found.ids, found.complete


def _answered(ids: list[str], answers: list[Answer], *, complete: bool) -> Verdict:
    refused = [(event_id, why_not(answer)) for event_id, answer in zip(ids, answers, strict=True) if not answer]
    answer = answers[0] if len(answers) == 1 else None
    return Verdict(len(ids) - len(refused), ids, refused, complete, answer)


def _interrupted(exc: ChangeManyError, ids: list[str]) -> Verdict:
    refused = [(event_id, why_not(answer)) for event_id, answer in exc.answers.items() if not answer]
    refused += [(event_id, "may or may not be changed: the timer's Redis did not answer") for event_id in exc.unknown]
    done = sum(map(bool, exc.answers.values()))
    return Verdict(done, ids, refused, complete=False, note=legible(str(exc), 1000))


def cancel(timer: TaskTimer, ids: list[str] | None, form: Form, user: str) -> Verdict:
    """End what waits."""
    del user
    chosen, complete = _chosen(timer, ids, form)
    if ids is not None and len(ids) == 1:
        return _answered(ids, [timer.cancel(ids[0], if_due_at=form.instant("due"))], complete=True)
    try:
        return _answered(chosen, timer.cancel_many(chosen), complete=complete)
    except ChangeManyError as exc:
        return _interrupted(exc, chosen)


def move(timer: TaskTimer, ids: list[str] | None, form: Form, user: str) -> Verdict:
    """Let what waits be due at another time."""
    del user
    delay, eta = form.get("delay").strip(), form.instant("eta")
    if bool(delay) == (eta is not None):
        raise HTTPException(400, "give a delay or an instant, and not both. Nothing was changed.")
    return _moved(timer, ids, form, _seconds("delay", delay) if delay else None, eta)


def run_now(timer: TaskTimer, ids: list[str] | None, form: Form, user: str) -> Verdict:
    """Let what waits be due now."""
    del user
    return _moved(timer, ids, form, 0.0, None)


def _moved(timer: TaskTimer, ids: list[str] | None, form: Form, delay: float | None, eta: datetime | None) -> Verdict:
    chosen, complete = _chosen(timer, ids, form)
    if ids is not None and len(ids) == 1:
        due = form.instant("due")
        if eta is not None:
            answer = timer.change_eta(ids[0], eta, if_due_at=due)
        else:
            answer = timer.change_delay(ids[0], delay or 0.0, if_due_at=due)
        return _answered(ids, [answer], complete=True)
    try:
        return _answered(chosen, timer.change_many(chosen, delay, eta=eta), complete=complete)
    except ChangeManyError as exc:
        return _interrupted(exc, chosen)


def replay(timer: TaskTimer, ids: list[str] | None, form: Form, user: str, *, dry_run: bool = False) -> Verdict:
    """Make what is parked pending again."""
    del user
    given = form.get("rate").strip()
    rate = _seconds("rate", given) if given else None
    wanted = _parked(ids, form)
    if ids is None and wanted.is_all:
        return _unparked(ids, timer.replay_many(all=True, rate=rate, dry_run=dry_run))
    if ids is not None:
        return _unparked(ids, timer.replay_many(ids, rate=rate, dry_run=dry_run))
    return _unparked(
        ids, timer.replay_many(tag=wanted.tag, task=wanted.task, reason=wanted.reason, rate=rate, dry_run=dry_run)
    )


def drop(timer: TaskTimer, ids: list[str] | None, form: Form, user: str, *, dry_run: bool = False) -> Verdict:
    """End what is parked for good."""
    del user
    wanted = _parked(ids, form)
    if ids is None and wanted.is_all:
        return _unparked(ids, timer.drop_many(all=True, dry_run=dry_run))
    if ids is not None:
        return _unparked(ids, timer.drop_many(ids, dry_run=dry_run))
    return _unparked(ids, timer.drop_many(tag=wanted.tag, task=wanted.task, reason=wanted.reason, dry_run=dry_run))


def _parked(ids: list[str] | None, form: Form) -> Wanted:
    wanted = Wanted.of(form)
    if ids is None and (wanted.queue or wanted.start or wanted.end):
        raise HTTPException(400, "parked events are chosen by tag, task and reason. Nothing was changed.")
    return wanted


def _unparked(ids: list[str] | None, answer: Unparked) -> Verdict:
    refused = [
        *(
            (event_id, "stays parked: another task of this id is pending or being delivered")
            for event_id in answer.in_use
        ),
        *((event_id, "is not parked") for event_id in answer.unknown),
    ]
    return Verdict(answer.done, ids or [], refused)


def held(form: Form) -> tuple[Literal["queue", "task"], str]:
    """Return what a hold is about.

    Raises:
        HTTPException: Neither a queue nor a task.
        InvalidEventError: It is no name of one.
    """
    what, name = form.get("what"), form.get("name").strip()
    if what == "queue":
        return "queue", check_queue(name)
    if what == "task":
        return "task", check_task(name)
    raise HTTPException(400, f"what must be queue or task, got {what[:100]!r}")


def hold(timer: TaskTimer, ids: list[str] | None, form: Form, user: str) -> Verdict:
    """Let no worker claim what is of a queue, or of a task."""
    del ids
    what, name = held(form)
    why, by = check_why(form.get("why").strip()), legible(user)[:MOST_BY]
    is_new = timer.hold(queue=name, why=why, by=by) if what == "queue" else timer.hold(task=name, why=why, by=by)
    note = "" if is_new else "It was held before; who holds it, since when and why is new."
    return Verdict(1, [f"{what} {name}"], note=note)


def resume(timer: TaskTimer, ids: list[str] | None, form: Form, user: str) -> Verdict:
    """Let it be claimed again."""
    del ids, user
    what, name = held(form)
    was_held = timer.resume(queue=name) if what == "queue" else timer.resume(task=name)
    refused = [] if was_held else [(f"{what} {name}", "was not held; nothing was changed")]
    return Verdict(int(was_held), [f"{what} {name}"], refused)


def limit(timer: TaskTimer, ids: list[str] | None, form: Form, user: str) -> Verdict:
    """Bound the rate at which the fleet claims what is long overdue."""
    del ids
    given, why, by = form.get("rate").strip(), check_why(form.get("why").strip()), legible(user)[:MOST_BY]
    rate = None if given == "off" else _seconds("rate", given)
    over = _seconds("over", form.get("over").strip() or str(CATCH_UP_AFTER.default))
    is_new = timer.limit_catch_up(rate, after=over, why=why, by=by)
    return Verdict(1, ["the catch-up limit"], note="" if is_new else "It replaces the one before.")


def end_limit(timer: TaskTimer, ids: list[str] | None, form: Form, user: str) -> Verdict:
    """Let the settings count again."""
    del ids, form, user
    ended = timer.forget_catch_up_limit()
    refused = [] if ended else [("the catch-up limit", "was not stored; nothing was changed")]
    return Verdict(int(ended), ["the catch-up limit"], refused)


def _seconds(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as exc:
        raise HTTPException(400, f"{name} must be a number, got {text[:100]!r}. Nothing was changed.") from exc


def why_not(answer: Answer) -> str:
    """Say what kept an event from being changed."""
    if answer.state is None:
        return "is unknown: it has run, was cancelled, or was never posted"
    if answer.state is State.LEASED:
        return f"is in the hands of {legible(answer.holder or '?')} since {_shown(answer.since)}; nothing was changed"
    if answer.state is State.PARKED:
        return f"is parked since {_shown(answer.since)}, and does not wait; nothing was changed"
    return f"is due at {_shown(answer.due_at)}, and not when it was shown; nothing was changed"


def _shown(at: datetime | None) -> str:
    return "an unknown time" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
