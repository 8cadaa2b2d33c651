"""Calls of scripts over the connections of a redis-py client, without the client in between.

It takes the connections from the client's own pool and gives them back there. What ``execute_command`` and a pipeline
do beside is repeating, which a timer never does, parsing, which a script's reply does not need, and noting what happens
for those who watch: as long as somebody does, calls go through the client, and are seen.
"""

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import redis
from redis.client import Pipeline
from redis.connection import AbstractConnection
from redis.exceptions import ResponseError

from celery_dtimer.timer.connecting.packing import packed
from celery_dtimer.timer.connecting.redis_patches import QuickPool, is_measured


def _own(kind: type, name: str) -> object:
    """Return a method as redis-py has it; an object that no method is, if somebody else's is in its place already."""
    method = vars(kind)[name]
    # The code tells, since a wrapper takes over its names.
    is_own = type(method) is FunctionType and method.__code__.co_name == name and not hasattr(method, "__wrapped__")
    return method if is_own else object()


#: What tools for tracing put a method of their own in place of.
_EXECUTE, _PARSE = _own(redis.Redis, "execute_command"), _own(redis.Redis, "parse_response")
_PIPELINE, _SEND = _own(Pipeline, "execute"), _own(AbstractConnection, "send_command")


class Direct:
    """A client's connections, for calls of scripts.

    Args:
        client: Repeats nothing.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        pool: Any = client.connection_pool
        self._pool = pool
        self._quick = QuickPool(pool)
        encoder: Any = client.get_encoder()
        #: Whether nothing is asked of the connections that only the client does.
        self._plain = (
            type(client) is redis.Redis
            and getattr(pool, "cache", None) is None
            and pool.connection_kwargs.get("command_packer") is None
            and (encoder.encoding, encoder.encoding_errors) == ("utf-8", "strict")
        )

    def send(self, commands: Sequence[Any], meanwhile: Callable[[], None] | None = None) -> list[Any] | None:
        """Send calls of scripts in one round trip; a refused one has its ResponseError for a reply.

        Args:
            commands: The calls, as ``execute_command`` takes them.
            meanwhile: Called while Redis works on them.

        Returns:
            The replies; None, and nothing was sent, if it is for the client to send them.

        Raises:
            redis.RedisError, OSError: Redis did not answer; each may or may not have been carried out.
        """
        if not self._plain or self._is_watched():
            return None
        calls: list[bytes] = []
        for command in commands:
            call = packed(command)
            if call is None:
                return None
            calls.append(call)
        connection = self._quick.take()
        replies: list[Any] = []
        try:
            connection.send_packed_command([b"".join(calls)])
            if meanwhile is not None:
                meanwhile()
            for _ in calls:
                try:
                    replies.append(connection.read_response())
                except ResponseError as exc:
                    replies.append(exc)
        except BaseException:
            # Replies may be on their way still, for nobody.
            connection.disconnect()
            raise
        finally:
            self._quick.give(connection)
        return replies

    def _is_watched(self) -> bool:
        """Whether somebody looks on at what redis-py sends."""
        client = self._client
        return not (
            redis.Redis.execute_command is _EXECUTE
            and redis.Redis.parse_response is _PARSE
            and Pipeline.execute is _PIPELINE
            and self._pool.connection_class.send_command is _SEND
            and "execute_command" not in vars(client)
            and not is_measured()
        )
