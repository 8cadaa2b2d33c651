"""Who may look, who may change, and the cookies of those who gave the token."""

import base64
import hashlib
import hmac
import inspect
import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

#: Tells who makes a request: the user's name, or None for nobody who may look.
Authorize = Callable[[Request], str | Awaitable[str | None] | None]

#: The cookie, and the seconds that it is good for.
COOKIE = "dtimer_session"
SESSION = 12 * 3600

#: Characters of a token: a shorter one is guessed.
LEAST_TOKEN = 16

#: Characters of a user's name.
MOST_NAME = 60

#: Who acts where nobody says who is there.
ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class Policy:
    """What a console allows, and whom.

    Attributes:
        allow_writes: Whether anything may be changed.
        token: What everybody has to give who looks; None: no token is asked for.
        authorize: Tells who makes a request, in place of the token.
        hosts: Names by which the console may be called; None: any.
    """

    allow_writes: bool = False
    token: str | None = None
    authorize: Authorize | None = None
    hosts: Collection[str] | None = None

    def __post_init__(self) -> None:
        """Refuse what would let anybody change tasks.

        Raises:
            ValueError: It would, or both a token and authorize are given, or a token is too short.
        """
        if self.token is not None and self.authorize is not None:
            raise ValueError("give token or authorize, and not both")
        if self.token is not None and len(self.token) < LEAST_TOKEN:
            # Not shown: it is secret.
            raise ValueError(f"token must be a string of {LEAST_TOKEN} characters or more")
        if self.allow_writes and self.token is None and self.authorize is None:
            raise ValueError("allow_writes needs a token or authorize: anybody could change tasks otherwise")

    # --- the token's sessions: nothing is stored, so any process of a server takes them

    def is_token(self, given: str) -> bool:
        """Whether this is the token."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def start_session(self, user: str) -> str:
        """Return the cookie of somebody who gave the token."""
        name = base64.urlsafe_b64encode(user[:MOST_NAME].encode(errors="replace")).decode().rstrip("=")
        value = f"{int(time.time()) + SESSION}.{secrets.token_urlsafe(16)}.{name}"
        return f"{value}.{self._sign(value)}"

    def user_of(self, cookie: str) -> str | None:
        """Return whose session a cookie is, or None if it is none, or over."""
        value, _, signature = cookie.rpartition(".")
        if not value or not hmac.compare_digest(self._sign(value).encode(), signature.encode()):
            return None
        expires, _, name = value.split(".")
        if int(expires) < time.time():
            return None
        return base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode() or ANONYMOUS

    def _sign(self, value: str) -> str:
        key = hashlib.sha256(b"celery-dtimer console\0" + (self.token or "").encode()).digest()
        return hmac.new(key, value.encode(), hashlib.sha256).hexdigest()

    async def user(self, request: Request) -> str | None:
        """Return who makes a request, or None if that is nobody who may look."""
        if self.authorize is not None:
            answer: Any = self.authorize(request)
            name = await answer if inspect.isawaitable(answer) else answer
            return str(name)[:MOST_NAME] if name else None
        if self.token is not None:
            return self.user_of(request.cookies.get(COOKIE, ""))
        return ANONYMOUS


def csrf_of(cookie: str) -> str:
    """Return what a form has to carry that belongs to a cookie; who can't read the cookie can't make it."""
    return hashlib.sha256(b"celery-dtimer form\0" + cookie.encode()).hexdigest()


def is_csrf(cookie: str, given: str) -> bool:
    """Whether a form belongs to a cookie."""
    return bool(cookie) and hmac.compare_digest(csrf_of(cookie).encode(), given.encode())
