"""The thread of a listener that blocks on the wake lists, and says so when Redis hands it a token.

Redis serves who has waited longest first, and forgets who is gone. A thread of its own, since a blocked client is woken
by its own timeout up to 100 ms late: nothing may depend on that but the next look at whether to go on.
"""

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from redis import Redis
from redis.exceptions import NoPermissionError, RedisError

from celery_dtimer.timer.connect import BLOCK, blocking_twin

#: Seconds to wait after an error. The listener's loop meets the same Redis once a second, and reports it.
PAUSE = 1.0


class Waker:
    """Calls ``on_token`` with each wake token.

    Args:
        client: A client of the timer's Redis; its connections are not used, but others like them.
        on_token: Called in this thread.
        on_refusal: Called in this thread, once, with Redis' answer if this user may not block on the wake lists. No
            other command tells: without tokens the loop still claims, once a second.
    """

    def __init__(
        self, client: Redis, on_token: Callable[[], None], on_refusal: Callable[[NoPermissionError], None]
    ) -> None:
        self._client = blocking_twin(client)
        self._on_token = on_token
        self._on_refusal = on_refusal
        self._refused = False
        self._keys: Sequence[str] = ()
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dtimer-waker", daemon=True)

    def start(self) -> None:
        """Start the thread; it blocks on nothing before ``listen``."""
        self._thread.start()

    def listen(self, keys: Sequence[str]) -> None:
        """Block on these lists from now on; on none while there are no keys.

        A token that is taken at the very moment at which nothing is wanted any more still arrives.
        """
        if keys and keys != self._keys:
            self._keys = keys
            self._interrupt()
        if keys:
            self._wanted.set()
        else:
            self._wanted.clear()
            if self._stopped.is_set():
                # stop() was called in between, and its thread is not to wait for what nobody will want any more.
                self._wanted.set()

    def stop(self) -> None:
        """End the thread, and wait a second for it at most."""
        self._stopped.set()
        self._wanted.set()
        for _ in range(20):
            # Again and again: it may be about to connect.
            self._interrupt()
            self._thread.join(0.05)
            if not self._thread.is_alive():
                self._client.connection_pool.disconnect()
                break

    def _interrupt(self) -> None:
        """End the command that the thread blocks in.

        Its socket is shut down, and left to the thread to close: closed here, its number might be that of another
        connection's socket by the time at which the thread begins to wait for it.
        """
        for connection in list(self._client.connection_pool._in_use_connections):  # noqa: SLF001 - nor its socket
            sock = connection._sock  # noqa: SLF001 - has a public name
            if sock is not None:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wanted.wait()
            keys = self._keys
            if self._stopped.is_set():
                return
            try:
                if self._client.blpop(list(keys), timeout=BLOCK):
                    self._on_token()
                self._refused = False
            except NoPermissionError as exc:
                if not self._refused:
                    self._refused = True
                    self._on_refusal(exc)
                self._stopped.wait(PAUSE)
            except (RedisError, OSError, AttributeError, ValueError):
                # AttributeError and ValueError: a TLS socket was shut down on purpose, in the middle of a read.
                # On a new connection the next time: a server that has become a replica refuses this one for ever.
                self._client.connection_pool.disconnect(inuse_connections=False)
                if keys == self._keys:
                    self._stopped.wait(PAUSE)
