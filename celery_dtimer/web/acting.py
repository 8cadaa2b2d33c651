"""Changes: each is asked for once, on a page that says how many events it is about, and answered with its verdict."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from celery_dtimer.timer.checks import check_id
from celery_dtimer.timer.legible import legible
from celery_dtimer.web import changes
from celery_dtimer.web.forms import Form, query_form, read_form
from celery_dtimer.web.now import desk_of
from celery_dtimer.web.policy import COOKIE, is_csrf
from celery_dtimer.web.searching import MOST_CHANGED, Wanted, matching
from celery_dtimer.web.signing import set_cookie, with_cookie

if TYPE_CHECKING:
    from celery_dtimer.web.console import Desk

logger = logging.getLogger(__name__)

#: What is no matter of single events.
FLEET = ("hold", "limit")

#: Ids that a page names, and that a line of the log does.
NAMED, LOGGED = 20, 20

#: Fields that say what matches.
SEARCHED = ("state", "tag", "task", "queue", "from", "to", "reason")

#: Fields that a page of confirmation hands on.
HANDED_ON = ("do", "all", *SEARCHED, "due", "what", "name", "why", "next")


@dataclass(frozen=True)
class Action:
    """One kind of change.

    Attributes:
        verb: As a button says it.
        done: As a verdict says it, behind a number or a name.
        asks: As the page of confirmation says it, before the number or the name.
        on: What it is about: ``"pending"`` or ``"parked"`` events, a ``"hold"``, or the ``"limit"``.
        danger: Whether it can't be undone.
        fields: What else has to be said.
        act: Does it: desk, ids (None: all that match), form, user, dry run.
    """

    verb: str
    done: str
    asks: str
    on: str
    act: Callable[..., changes.Verdict]
    danger: bool = False
    fields: tuple[str, ...] = field(default=())


ACTIONS = {
    "cancel": Action("Cancel", "cancelled", "Cancel", "pending", changes.cancel, danger=True),
    "move": Action("Move", "moved", "Move", "pending", changes.move, fields=("delay", "eta")),
    "run-now": Action("Run now", "due now", "Run now", "pending", changes.run_now),
    "replay": Action("Replay", "pending again", "Replay", "parked", changes.replay, fields=("rate",)),
    "drop": Action("Drop", "dropped", "Drop for good", "parked", changes.drop, danger=True),
    "hold": Action("Hold", "held", "Hold", "hold", changes.hold, fields=("why",)),
    "resume": Action("Resume", "resumed", "Resume", "hold", changes.resume),
    "catch-up": Action("Limit", "set", "Limit the catch-up", "limit", changes.limit, fields=("rate", "over", "why")),
    "catch-up-default": Action("End", "ended", "End the catch-up limit", "limit", changes.end_limit),
}


async def ask(request: Request) -> Response:
    """Ask whether something shall be done."""
    return await _ask(request, query_form(request))


async def act(request: Request) -> Response:
    """Do it, if it was asked about; or ask."""
    form = await read_form(request)
    if not form.get("confirmed"):
        return await _ask(request, form)
    desk, user = _allowed(request)
    if not is_csrf(request.cookies.get(COOKIE, ""), form.get("csrf")):
        logger.warning("dtimer: web: refused a form of %s that is none of this console's", legible(user))
        raise HTTPException(403, "the form is too old, or none of this console's. Nothing was changed.")
    action, ids = _read(form)
    verdict = await run_in_threadpool(action.act, desk.timer, ids, form, user)
    desk.watch.forget()
    _log(user, form, action, verdict, matched=ids is None and action.on not in FLEET)
    return desk.page(
        request,
        "verdict.html",
        action=action,
        verdict=verdict,
        named=verdict.refused[:NAMED],
        left=max(0, len(verdict.refused) - NAMED),
        back=_back(form, action),
    )


async def _ask(request: Request, form: Form) -> Response:
    desk, _ = _allowed(request)
    action, ids = _read(form)
    preview = await run_in_threadpool(_preview, desk, action, ids, form)
    cookie = with_cookie(request)
    response = desk.page(
        request,
        "confirm.html",
        action=action,
        ids=ids,
        preview=preview,
        named=preview.ids[:NAMED],
        kept=form.kept(*HANDED_ON),
        given=form.kept(*action.fields),
        most=MOST_CHANGED,
        back=_back(form, action),
        now=datetime.now(UTC),
    )
    if cookie is not None:
        set_cookie(request, response, cookie)
    return response


@dataclass(frozen=True)
class Preview:
    """What a change would be about.

    Attributes:
        count: How many events.
        ids: The first of them.
        complete: Whether these are all that match.
        infos: What each of a few is now.
    """

    count: int
    ids: list[str]
    complete: bool = True
    infos: list[Any] = field(default_factory=list)


def _preview(desk: "Desk", action: Action, ids: list[str] | None, form: Form) -> Preview:
    if action.on in FLEET:
        return Preview(1, [])
    if ids is not None:
        infos = [desk.timer.peek(ids[0])] if len(ids) == 1 else []
        return Preview(len(ids), ids, infos=infos)
    if action.on == "parked":
        return Preview(action.act(desk.timer, None, form, "", dry_run=True).done, [])
    found = matching(desk.timer, Wanted.of(form))
    return Preview(len(found.ids), found.ids[:NAMED], found.complete)


def _allowed(request: Request) -> tuple["Desk", str]:
    """Return the desk, and who acts.

    Raises:
        HTTPException: Nobody may change anything here.
    """
    desk, user = desk_of(request), getattr(request.state, "dtimer_user", None)
    if not desk.policy.allow_writes or user is None:
        raise HTTPException(403, "this console only shows: it was started without allow_writes. Nothing was changed.")
    return desk, str(user)


def _read(form: Form) -> tuple[Action, list[str] | None]:
    """Return what shall be done, and to which events; None: to all that match.

    Raises:
        HTTPException: Nothing, or nothing that there is.
        InvalidEventError: A field is wrong.
    """
    action = ACTIONS.get(form.get("do"))
    if action is None:
        raise HTTPException(400, f"do must be one of {', '.join(ACTIONS)}, got {legible(form.get('do'), 100)!r}")
    if action.on == "hold":
        changes.held(form)
    if action.on in FLEET:
        return action, None
    Wanted.of(form)
    if form.get("all"):
        return action, None
    ids = [check_id(event_id) for event_id in form.all("id")]
    if not ids:
        raise HTTPException(400, "choose one event or more first. Nothing was changed.")
    return action, ids


def _log(user: str, form: Form, action: Action, verdict: changes.Verdict, *, matched: bool) -> None:
    """Write down who did what, in one line."""
    do, names = form.get("do"), verdict.names[:LOGGED]
    about = ", ".join(legible(name) for name in names)
    if len(verdict.names) > LOGGED:
        about += f" and {len(verdict.names) - LOGGED} more"
    if matched:
        sought = " ".join(f"{name}={legible(value)}" for name, value in form.kept(*SEARCHED).items())
        about = f"all that match {sought or 'everything'}: {about}"
    logger.info(
        "dtimer: web: %s asked to %s: %d %s, %d not (%s)",
        *(legible(user), do, verdict.done, action.done, len(verdict.refused), about),
        extra={"dtimer_user": user, "dtimer_action": do, "dtimer_events": tuple(names)},
    )


def _back(form: Form, action: Action) -> str:
    """Return where a page leads back to, within the console."""
    back = form.get("next")
    if back.startswith("/") and not back.startswith(("//", "/\\")) and back.isprintable():
        return back[:2000]
    return "/holds" if action.on in FLEET else "/events?state=parked" if action.on == "parked" else "/events"
