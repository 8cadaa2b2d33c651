"""Stands in front of every page: headers that bind the browser, the host's name, who asks, and from where."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from celery_dtimer.timer.legible import legible
from celery_dtimer.web.policy import Policy

logger = logging.getLogger(__name__)

#: What the browser may load and do: what comes from here, and no code or style inside of a page.
CONTENT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "content-security-policy": CONTENT,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: browsers then send "Origin: null" with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

#: Paths that anybody may ask for.
STATIC, LOGIN = "/static/", "/login"

#: Makes a page of an error: request, status, title, text.
ErrorPage = Callable[[Request, int, str, str], Response]


class Guard:
    """An ASGI application that lets through what may be.

    Args:
        app: What it guards.
        policy: Who may.
        error_page: Makes a page that says why not.
    """

    def __init__(self, app: ASGIApp, policy: Policy, error_page: ErrorPage) -> None:
        self._app = app
        self._policy = policy
        self._error_page = error_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            # A mounted application has no life of its own; alone, a server asks for one.
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        refusal = await self._refusal(request)
        await (self._app if refusal is None else refusal)(scope, receive, _with_headers(send))

    async def _refusal(self, request: Request) -> Response | None:
        policy = self._policy
        state: MutableMapping[str, Any] = request.scope.setdefault("state", {})
        state["dtimer_user"] = None
        if policy.hosts is not None and _host_of(request) not in policy.hosts:
            logger.warning("dtimer: web: refused the host name %s", legible(request.headers.get("host", "")))
            return self._error_page(
                request, 421, "Unknown host name", "This console does not go by this name. See --allow-host."
            )
        if request.method not in {"GET", "HEAD", "POST"}:
            return self._error_page(request, 405, "Not allowed", "Pages are read by GET and changed by POST.")
        if request.method == "POST" and not _is_same_origin(request):
            logger.warning("dtimer: web: refused a post from %s", legible(request.headers.get("origin", "elsewhere")))
            return self._error_page(request, 403, "Refused", "The request came from another site. Nothing was changed.")
        return await self._not_signed_in(request, state)

    async def _not_signed_in(self, request: Request, state: MutableMapping[str, Any]) -> Response | None:
        policy, path = self._policy, route_of(request.scope)
        if path.startswith(STATIC):
            return None
        state["dtimer_user"] = await policy.user(request)
        if state["dtimer_user"] is not None or (policy.token is not None and path == LOGIN):
            return None
        if policy.token is not None and request.method != "POST" and path != "/live":
            base = request.scope.get("root_path", "")
            return RedirectResponse(f"{base}{LOGIN}", 303)
        return self._error_page(request, 403, "Not signed in", "Sign in first. Nothing was changed.")


def route_of(scope: Scope) -> str:
    """Return the path of a request below the place where the console is mounted."""
    root, path = scope.get("root_path", ""), str(scope["path"])
    return path[len(root) :] if root and path.startswith(root) else path


def _host_of(request: Request) -> str:
    """Return the name that the browser called, without the port."""
    host = request.headers.get("host", "").lower()
    return host.partition("]")[0] + "]" if host.startswith("[") else host.rpartition(":")[0] or host


def _is_same_origin(request: Request) -> bool:
    """Whether a form was sent from a page of ours, as far as the browser says."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = request.headers.get("origin")
    # Without the scheme: before a proxy, that may be another.
    return origin is None or origin.partition("://")[2] == request.headers.get("host", "")


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending
