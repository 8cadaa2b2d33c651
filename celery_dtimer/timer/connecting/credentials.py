"""A credential provider of the user's, whose errors are those of a connection."""

from typing import Any

from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, ConnectionError, RedisError  # noqa: A004 - redis-py's


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

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return the password, or user and password.

        Raises:
            redis.ConnectionError: The provider failed, or returned something else.
        """
        name = type(self._provider).__name__
        try:
            credentials = self._provider.get_credentials()
        except (RedisError, OSError):
            raise
        except Exception as exc:
            raise ConnectionError(f"the credential provider {name} failed: {type(exc).__name__}: {exc}") from exc
        try:
            found = tuple(credentials)
        except TypeError:
            found = ()
        if len(found) not in (1, 2) or isinstance(credentials, str) or not all(isinstance(text, str) for text in found):
            raise AuthenticationError(f"the credential provider {name} returned no (user, password)")
        return found
