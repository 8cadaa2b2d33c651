"""The console as a view of Django: for the staff, and for those of them who may change tasks.

The console is an ASGI application, and Django calls views under WSGI and ASGI. a2wsgi runs it in a thread with a loop
of its own, and is called like a WSGI application in both cases. Where threads are greenlets, that loop would run in the
thread of all of them, and Django would refuse them its database from then on; so there the console does not start.
"""

from functools import cache
from io import BytesIO
from typing import Any

from a2wsgi import ASGIMiddleware
from celery import current_app
from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.utils.encoding import iri_to_uri
from django.views.decorators.csrf import csrf_exempt
from kombu.utils.compat import detect_environment
from starlette.requests import Request

from celery_dtimer.celery_patches.apps import behind_proxy
from celery_dtimer.web import console

#: The permission to change tasks, unless the URL names another one. Nobody is given this one: superusers have all.
PERMISSION = "dtimer.steer"

#: The key of the request's environment that has the user's name. No header of a request can be that.
USER = "dtimer.user"

#: What the console is told of a request, beside its headers.
PASSED_ON = ("REQUEST_METHOD", "CONTENT_TYPE", "SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR")

#: The answer of a process that gevent or eventlet has patched.
IN_GREENLETS = (
    "The console can't run in a process of greenlets (gevent, eventlet). Serve its URL from another process, or start "
    "one of its own: celery -A PROJECT dtimer web"
)


@csrf_exempt  # the console's forms have a token of their own, and it looks at the Origin
@staff_member_required
def console_page(request: HttpRequest, page: str = "", write_permission: str = PERMISSION) -> HttpResponse:
    """Answer with a page of the console, for active users of the staff.

    Args:
        request: The request.
        page: Its path below the console's.
        write_permission: The permission of those who may change tasks; from the third argument of ``path()``.

    Raises:
        NotInstalledError: ``install(app)`` was not called.
    """
    if detect_environment() != "default":
        return HttpResponse(IN_GREENLETS, status=501, content_type="text/plain")
    application = _console(behind_proxy(current_app), request.user.has_perm(write_permission))
    answer: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]], failure: Any = None) -> None:
        if failure is not None:
            raise failure[1].with_traceback(failure[2])
        answer.update(status=int(status.split(maxsplit=1)[0]), headers=headers)

    body = b"".join(application(_environ(request, page), start_response))
    response = HttpResponse(body, status=answer["status"], content_type="text/html")
    for name, value in answer["headers"]:
        if name.lower() == "set-cookie":
            response.cookies.load(value)
        else:
            response.headers[name] = value
    return response


@cache
def _console(app: Any, allow_writes: bool) -> Any:
    """Return the console of an app for those who may change tasks, or for the others, made at its first page.

    Its pages are not live: each open one would keep a thread.
    """
    application: Any = console(app, allow_writes=allow_writes, authorize=_user_of, live=False)
    return ASGIMiddleware(application)


def _user_of(request: Request) -> str | None:
    environ: dict[str, Any] = request.scope["wsgi_environ"]
    name: str | None = environ[USER]
    return name


def _environ(request: HttpRequest, page: str) -> dict[str, Any]:
    """Return a request as WSGI has it, whatever Django was called by."""
    meta = request.META
    environ = {name: meta[name] for name in PASSED_ON if name in meta}
    environ |= {name: value for name, value in meta.items() if name.startswith("HTTP_")}
    root = request.path[: len(request.path) - len(page)].rstrip("/")
    return {
        **environ,
        # As Django has understood what a proxy in front of it says.
        "HTTP_HOST": request.get_host(),
        "wsgi.url_scheme": request.scheme,
        # In Latin-1, as WSGI has paths.
        "SCRIPT_NAME": root.encode().decode("latin-1"),
        "PATH_INFO": f"/{page}".encode().decode("latin-1"),
        "QUERY_STRING": iri_to_uri(meta.get("QUERY_STRING", "")),
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.input": BytesIO(request.body),
        USER: request.user.get_username() or None,
    }
