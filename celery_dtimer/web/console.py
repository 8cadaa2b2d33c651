"""``console(app)``: the console of a Celery app as an ASGI application."""

import threading
import time
from collections.abc import Collection
from typing import Any

from anyio import CapacityLimiter
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

import celery_dtimer
from celery_dtimer.errors import DTimerError, InvalidEventError, TimerUnavailableError
from celery_dtimer.extension import extension_of
from celery_dtimer.operating.doctor import Diagnosis, examine
from celery_dtimer.posting.task_timer import TaskTimer, get_timer
from celery_dtimer.timer.legible import legible
from celery_dtimer.web import acting, finding, now, signing
from celery_dtimer.web.guard import Guard, route_of
from celery_dtimer.web.live import Watch
from celery_dtimer.web.policy import COOKIE, Authorize, Policy, csrf_of
from celery_dtimer.web.showing import HERE, environment, masked

#: Seconds for which a diagnosis is shown again.
DIAGNOSIS = 5.0


def console(
    app: Any,
    *,
    allow_writes: bool = False,
    token: str | None = None,
    authorize: Authorize | None = None,
    hosts: Collection[str] | None = None,
    live: bool = True,
) -> ASGIApp:
    """Return a console of an app's timer, to be mounted in any ASGI application.

    Args:
        app: The Celery app, on which ``install`` was called.
        allow_writes: Whether tasks may be cancelled, moved, held and so on; needs a token or authorize.
        token: What users have to give; 16 characters or more.
        authorize: Or a callable, async or not, that is given each request and returns the user's name, or None if
            that is nobody who may look.
        hosts: Names by which it may be called, against DNS rebinding; None: any.
        live: Whether pages are kept up to date by server-sent events, each of which keeps a connection open.

    Raises:
        NotInstalledError: ``install(app)`` was not called.
        ValueError: Anybody could change tasks, or the token is too short.
    """
    extension_of(app)
    desk = Desk(app, Policy(allow_writes, token, authorize, hosts), live=live)
    return Guard(desk.application(), desk.policy, desk.error_page)


class Desk:
    """What all pages share.

    Args:
        app: The Celery app.
        policy: Who may do what.
        live: Whether there are server-sent events.
    """

    def __init__(self, app: Any, policy: Policy, *, live: bool = True) -> None:
        self.app = app
        self.policy = policy
        self.live = live
        self.watch = Watch(app)
        #: What pages were sent last: range and place -> number of the look, and the event.
        self.told: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._templates = environment()
        #: Threads that a result backend which hangs may hold.
        self.asking = CapacityLimiter(4)
        self._examining = threading.Lock()
        self._diagnosis: tuple[float, Diagnosis] | None = None

    @property
    def timer(self) -> TaskTimer:
        """The app's timer."""
        return get_timer(self.app)

    def application(self) -> Starlette:
        """Return the pages."""
        application = Starlette(
            routes=[
                Mount("/static", StaticFiles(directory=HERE / "static"), name="static"),
                *(Route(path, page, methods=methods) for path, page, methods in PAGES),
            ],
            exception_handlers={
                HTTPException: self._on_http,
                InvalidEventError: self._on_invalid,
                DTimerError: self._on_timer,
                RedisError: self._on_timer,
                Exception: self._on_defect,
            },
        )
        application.state.desk = self
        return application

    def page(self, request: Request, template: str, code: int = 200, **values: Any) -> HTMLResponse:
        """Return a page, or the part of one that a template makes."""
        return HTMLResponse(self.render(request, template, **values), code)

    def render(self, request: Request, template: str, **values: Any) -> str:
        """Return what a template makes of these values, and of what every page has."""
        cookie = getattr(request.state, "dtimer_cookie", None) or request.cookies.get(COOKIE, "")
        user = getattr(request.state, "dtimer_user", None)
        return self._templates.get_template(template).render(
            base=request.scope.get("root_path", ""),
            here=route_of(request.scope) or "/",
            user=user,
            signed_in=self.policy.token is not None and user is not None,
            writes=self.policy.allow_writes and user is not None,
            live=self.live,
            csrf=csrf_of(cookie),
            app_name=legible(self.app.main or "app", 60),
            version=celery_dtimer.__version__,
            **values,
        )

    def mask(self, task: str | None, args: str, kwargs: str) -> tuple[str, str]:
        """Return the arguments of a task as they may be shown."""
        return masked(extension_of(self.app).settings.web_mask, task, args, kwargs)

    def diagnosis(self) -> Diagnosis:
        """Return what the doctor finds, looked for once in some seconds."""
        with self._examining:
            if self._diagnosis is None or time.monotonic() - self._diagnosis[0] > DIAGNOSIS:
                self._diagnosis = (time.monotonic(), examine(self.app))
            return self._diagnosis[1]

    # --- errors

    def error_page(self, request: Request, status: int, title: str, text: str, *, away: bool = False) -> Response:
        """Return a page that says what is wrong."""
        return self.page(request, "error.html", status, title=title, text=legible(text, 1000), status=status, away=away)

    async def _on_http(self, request: Request, exc: Exception) -> Response:
        status = exc.status_code if isinstance(exc, HTTPException) else 500
        titles = {404: "No such page", 405: "Not allowed", 413: "Too long", 403: "Refused", 400: "Not understood"}
        text = exc.detail if isinstance(exc, HTTPException) else ""
        return self.error_page(request, status, titles.get(status, "Not possible"), text)

    async def _on_invalid(self, request: Request, exc: Exception) -> Response:
        return self.error_page(request, 400, "Not understood", str(exc))

    async def _on_timer(self, request: Request, exc: Exception) -> Response:
        away = isinstance(exc, TimerUnavailableError | RedisError)
        title = "The timer's Redis does not answer" if away else "The timer can't do that"
        return self.error_page(request, 503, title, str(exc), away=away)

    async def _on_defect(self, request: Request, exc: Exception) -> Response:
        # Starlette raises it again for the server's log: the page says nothing that might be secret.
        return self.error_page(request, 500, "Something went wrong", f"{type(exc).__name__}: see the server's log.")


PAGES: tuple[tuple[str, Any, list[str]], ...] = (
    ("/", now.overview, ["GET"]),
    ("/live", now.live, ["GET"]),
    ("/health", now.health, ["GET"]),
    ("/events", finding.events, ["GET"]),
    ("/event", finding.event, ["GET"]),
    ("/events/{id:path}", finding.event, ["GET"]),
    ("/holds", now.holds, ["GET"]),
    ("/act", acting.ask, ["GET"]),
    ("/act", acting.act, ["POST"]),
    ("/login", signing.sign_in, ["GET", "POST"]),
    ("/logout", signing.sign_out, ["POST"]),
)
