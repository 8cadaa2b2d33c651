"""A credential provider of the user's, whose errors are those of a connection."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, ConnectionError, RedisError  # noqa: A004 - redis-py's

#: A password, or user and password.
Found = tuple[str] | tuple[str, str]


class Credentials(CredentialProvider):
    """Asks a provider whenever a connection is made.

    Its errors count as a Redis that does not answer: they are reported, and it is asked again.

    Args:
        provider: redis-py's ``CredentialProvider``, or an object with its ``get_credentials``.

    Raises:
        ValueError: It has none.
    """

    def __init__(self, provider: Any) -> None:
        if isinstance(provider, type) or not callable(getattr(provider, "get_credentials", None)):
            kind = provider.__name__ if isinstance(provider, type) else type(provider).__name__
            wrong = f"has a credential_provider that is no redis.credentials.CredentialProvider but {kind}"
            raise ValueError(wrong)  # noqa: TRY004 - as all that is wrong with a URL
        self._provider = provider

    def __repr__(self) -> str:
        """Return the provider's class alone: its own repr may show a password."""
        return f"Credentials({type(self._provider).__name__})"

    def get_credentials(self) -> Found:
        """Return the password, or user and password.

        Raises:
            redis.ConnectionError: The provider failed, or returned something else.
        """
        with self._failing():
            credentials = self._provider.get_credentials()
        return self._checked(credentials)

    async def get_credentials_async(self) -> Found:
        """Return them for an asyncio connection: awaited, if the provider can be, or asked for in a thread.

        Raises:
            redis.ConnectionError: The provider failed, or returned something else.
        """
        ask = getattr(type(self._provider), "get_credentials_async", None)
        # redis-py's own would ask in the thread of the loop. Before 5.3, it has none, and asks there anyway.
        if ask is None or ask is getattr(CredentialProvider, "get_credentials_async", None):
            return await asyncio.to_thread(self.get_credentials)
        with self._failing():
            credentials = await self._provider.get_credentials_async()
        return self._checked(credentials)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        name = type(self._provider).__name__
        try:
            yield
        except (RedisError, OSError):
            raise
        except Exception as exc:
            raise ConnectionError(f"the credential provider {name} failed: {type(exc).__name__}: {exc}") from exc

    def _checked(self, credentials: Any) -> Found:
        try:
            found = tuple(credentials)
        except TypeError:
            found = ()
        if len(found) not in (1, 2) or isinstance(credentials, str) or not all(isinstance(text, str) for text in found):
            name = type(self._provider).__name__
            raise AuthenticationError(f"the credential provider {name} returned no (user, password)")
        return cast("Found", found)
