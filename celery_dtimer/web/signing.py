"""Signing in with the token, and out again."""

import asyncio
import logging
import secrets

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from celery_dtimer.timer.legible import legible
from celery_dtimer.web.forms import read_form
from celery_dtimer.web.now import desk_of
from celery_dtimer.web.policy import ANONYMOUS, COOKIE, MOST_NAME, SESSION

logger = logging.getLogger(__name__)

#: Seconds that a wrong token takes, so that guessing is slow.
WRONG = 0.5


async def sign_in(request: Request) -> Response:
    """Ask for the token, and for a name for the log."""
    desk = desk_of(request)
    if desk.policy.token is None:
        raise HTTPException(404, "this console asks for no token")
    if request.method != "POST":
        return desk.page(request, "login.html", wrong=False)
    form = await read_form(request)
    name = " ".join(form.get("name", "").split())[:MOST_NAME] or ANONYMOUS
    if not desk.policy.is_token(form.get("token", "")):
        logger.warning("dtimer: web: a wrong token was given, with the name %s", legible(name))
        await asyncio.sleep(WRONG)
        return desk.page(request, "login.html", 403, wrong=True)
    logger.info("dtimer: web: %s has signed in", legible(name))
    response = RedirectResponse(f"{request.scope.get('root_path', '')}/", 303)
    set_cookie(request, response, desk.policy.start_session(name))
    return response


async def sign_out(request: Request) -> Response:
    """Forget the session."""
    response = RedirectResponse(f"{request.scope.get('root_path', '')}/", 303)
    response.delete_cookie(COOKIE, path=_path(request))
    return response


def with_cookie(request: Request) -> str | None:
    """Return a new cookie for a user without one, whose forms belong to it; None: there is one."""
    if request.cookies.get(COOKIE):
        return None
    request.state.dtimer_cookie = secrets.token_urlsafe(24)
    return str(request.state.dtimer_cookie)


def set_cookie(request: Request, response: Response, value: str) -> None:
    """Set the cookie, which no script reads, and no other site sends."""
    response.set_cookie(
        COOKIE,
        value,
        max_age=SESSION,
        path=_path(request),
        secure=request.scope.get("scheme") == "https",
        httponly=True,
        samesite="strict",
    )


def _path(request: Request) -> str:
    return request.scope.get("root_path", "") or "/"
