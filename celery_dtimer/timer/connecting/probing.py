"""Whether a node of a cluster speaks at all: it is asked once, over a connection for that alone."""

from typing import Any, NamedTuple

import redis
from redis.connection import Connection

from celery_dtimer.timer.connecting.asyncio_options import asyncio_options


class Probe(NamedTuple):
    """A step (see steps.py) that is told whether a node speaks, if only to refuse something.

    Attributes:
        connection_class: redis-py's.
        options: Of the connection, with short timeouts.
    """

    connection_class: type[Connection]
    options: dict[str, Any]

    def now(self) -> bool:
        """Ask it."""
        connection = self.connection_class(**self.options)
        try:
            connection.send_command("PING")
            connection.read_response()
        except (redis.TimeoutError, OSError):
            return False
        except redis.RedisError:
            pass  # it speaks
        finally:
            connection.disconnect()
        return True

    async def awaited(self) -> bool:
        """Ask it, on the running loop."""
        kind, options = asyncio_options(self.connection_class, self.options)
        connection = kind(**options)
        try:
            await connection.send_command("PING")
            await connection.read_response()
        except (redis.TimeoutError, OSError):
            return False
        except redis.RedisError:
            pass  # it speaks
        finally:
            await connection.disconnect(nowait=True)
        return True
