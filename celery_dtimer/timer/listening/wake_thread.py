"""The thread of a listener that blocks on the wake lists, and says so when Redis hands it a token.

Redis serves the longest waiting client first, and forgets dead ones. The thread is separate, since a blocked client's
timeout comes up to 100 ms late: only the next look at whether to go on may depend on that. Each shard has a
connection of its own, since shards may be on different servers; the thread waits for all of them at once.
"""

import logging
import selectors
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from redis.connection import ConnectionInterface, SSLConnection
from redis.exceptions import NoPermissionError, RedisError

from celery_dtimer.timer.connecting.redis_patches import fileno
from celery_dtimer.timer.connecting.server import Server
from celery_dtimer.timer.connecting.url import TIMEOUT
from celery_dtimer.timer.forks import tell_of_forks
from celery_dtimer.timer.listening.socket_wakeup import Wakeup

logger = logging.getLogger(__name__)

#: Seconds that a connection blocks at a time.
BLOCK = 30.0

#: Seconds after which a token goes back if the listener does not answer it: its handler is busy, and others may not be.
UNANSWERED = 0.05

#: Seconds to wait after an error. The listener's loop meets the same Redis when it polls, and reports it.
PAUSE = 1.0


class WakeThread:
    """Calls ``on_token`` with the number of a shard at each wake token.

    Args:
        servers: The server of each shard; the thread has connections of its own to them.
        on_token: Called in this thread.
        on_refusal: Called in this thread, once, with Redis' answer if this user may not block on the wake lists. No
            other command tells: without tokens the loop still claims, when it polls.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        on_token: Callable[[int], None],
        on_refusal: Callable[[NoPermissionError], None],
    ) -> None:
        self._lines = [_Line(number, server) for number, server in enumerate(servers)]
        self._on_token = on_token
        self._on_refusal = on_refusal
        self._refused = False
        self._stopped = False
        self._wakeup = Wakeup()
        self._thread = threading.Thread(target=self._run, name="dtimer-wake", daemon=True)
        tell_of_forks(self)

    def start(self) -> None:
        """Start the thread; it blocks on nothing before ``listen``."""
        self._thread.start()

    def listen(self, number: int, keys: Sequence[str]) -> None:
        """Block on these lists of a shard from now on; on none while there are no keys.

        A connection that blocks already goes on when there are no keys any more: its token still arrives.
        """
        line = self._lines[number]
        line.wanted = keys
        # A worker that fills up and empties says so again and again: it blocks still, and the thread is left alone.
        # When that ends, the thread looks at the keys of that moment.
        if keys and line.blocked != keys:
            self._wakeup.wake()

    def answered(self, number: int) -> None:
        """Block again: the loop has answered the last token."""
        line = self._lines[number]
        line.unanswered, line.not_before, line.stuck = b"", 0.0, False
        if line.wanted:
            self._wakeup.wake()

    def reconnect(self, number: int) -> None:
        """Make the connection of a shard anew: a host that went dark has not closed the blocked one."""
        self._lines[number].doubted = True
        self._wakeup.wake()

    def stop(self, timeout: float | None = None) -> None:
        """End the thread, and wait a second for it at most."""
        self._stopped = True
        self._wakeup.wake()
        if self._thread.ident is not None:
            self._thread.join(1.0 if timeout is None else min(1.0, timeout))

    def forked(self) -> None:
        """Let the parent's connections go: a server would take them for alive after the parent's death."""
        for line in self._lines:
            line.abandon()
        self._wakeup.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wakeup.fileno(), selectors.EVENT_READ)
            while not self._stopped:
                for line in self._lines:
                    self._tend(line, selector)
                instants = [instant for line in self._lines if (instant := line.next_instant()) is not None]
                timeout = max(0.0, min(instants) - time.monotonic()) if instants else None
                for key, _ in selector.select(timeout):
                    if key.data is None:
                        self._wakeup.drain()
                    else:
                        self._attempt(key.data, selector, self._hear)
            for line in self._lines:
                line.close(selector)
        self._wakeup.close()

    def _tend(self, line: "_Line", selector: selectors.BaseSelector) -> None:
        """Let a shard's connection block on the wanted lists."""
        overdue = line.blocked and time.monotonic() >= line.answer_by
        if line.doubted or overdue or (line.wanted and line.blocked and line.blocked != line.wanted):
            line.doubted = False
            line.close(selector)
        if line.unanswered and time.monotonic() >= line.not_before:
            self._attempt(line, selector, self._give_back)
        if line.wanted and line.is_free() and time.monotonic() >= line.not_before and not self._stopped:
            self._attempt(line, selector, self._block)

    def _attempt(
        self,
        line: "_Line",
        selector: selectors.BaseSelector,
        action: "Callable[[_Line, selectors.BaseSelector], None]",
    ) -> None:
        try:
            action(line, selector)
        except NoPermissionError as exc:
            line.close(selector)
            line.not_before = time.monotonic() + PAUSE
            if not self._refused:
                self._refused = True
                self._on_refusal(exc)
        except Exception as exc:
            if not isinstance(exc, RedisError | OSError):
                # A defect of ours: the others are to be woken still.
                logger.exception("dtimer: the wake thread failed, which is a defect; it goes on")
            # On a new connection the next time: a server that has become a replica refuses this one for ever.
            line.close(selector)
            line.not_before = time.monotonic() + PAUSE

    def _block(self, line: "_Line", selector: selectors.BaseSelector) -> None:
        keys = line.wanted
        connection = line.connected()
        connection.send_command("BLPOP", *keys, BLOCK)
        line.blocked = keys
        line.answer_by = time.monotonic() + BLOCK + TIMEOUT
        line.watch(selector)
        if line.lost:
            # A token may have gone to the connection that was lost.
            line.lost = False
            self._on_token(line.number)

    @staticmethod
    def _give_back(line: "_Line", selector: selectors.BaseSelector) -> None:
        """Give a token back that the listener does not answer, and block on nothing until it does."""
        del selector
        key, line.unanswered = line.unanswered, b""
        line.stuck = True
        connection = line.connected()
        connection.send_command("RPUSH", key, "1")
        connection.read_response()

    def _hear(self, line: "_Line", selector: selectors.BaseSelector) -> None:
        # Not watched while redis-py may close its socket: a pool's process that was forked meanwhile keeps it open, and
        # the system would go on reporting it here.
        line.unwatch(selector)
        connection = line.connection
        if connection is None:
            return
        if isinstance(connection, SSLConnection) and not connection.can_read(0):
            # The bytes are TLS's own, and no part of an answer.
            line.watch(selector)
            return
        reply = connection.read_response()
        line.blocked = ()
        line.heard_at = time.monotonic()
        if reply:
            line.unanswered, line.not_before = reply[0], line.heard_at + UNANSWERED
            self._on_token(line.number)
        self._refused = False


class _Line:
    """The connection of one shard, and the lists that it blocks on."""

    def __init__(self, number: int, server: Server) -> None:
        self.number = number
        self.server = server
        self.wanted: Sequence[str] = ()
        self.blocked: Sequence[str] = ()
        self.connection: ConnectionInterface | None = None
        self.doubted = False
        self.unanswered = b""  # the list whose token the listener has not answered yet
        self.stuck = False  # one was given back, since it did not
        self.lost = False
        self.not_before = 0.0
        self.answer_by = 0.0
        self.heard_at = 0.0
        self._fileno = -1

    def next_instant(self) -> float | None:
        """Return when something is to be done about it even if nothing is heard."""
        if self.blocked:
            return self.answer_by
        return self.not_before if self.unanswered or (self.wanted and not self.stuck) else None

    def is_free(self) -> bool:
        """Whether it blocks on nothing, and the listener has answered the last token."""
        return not (self.blocked or self.unanswered or self.stuck)

    def connected(self) -> ConnectionInterface:
        """Return the connection; a new one if there is none, or the server has closed it."""
        idle = time.monotonic() - self.heard_at > PAUSE
        if self.connection is not None and idle and _is_left(self.connection):
            self.connection.disconnect()
            self.connection = None
        if self.connection is None:
            self.connection = self.server.connection()
            self.connection.connect()
        return self.connection

    def watch(self, selector: selectors.BaseSelector) -> None:
        """Let the selector tell when something is heard."""
        self._fileno = fileno(self.connection)
        selector.register(self._fileno, selectors.EVENT_READ, self)

    def unwatch(self, selector: selectors.BaseSelector) -> None:
        """Undo that, if it was done."""
        if self._fileno >= 0:
            selector.unregister(self._fileno)
            self._fileno = -1

    def abandon(self) -> None:
        """Close this process's part of the connection; redis-py ends only what it has opened in the same process."""
        connection, self.connection = self.connection, None
        if connection is not None:
            with suppress(OSError, RedisError):
                connection.disconnect()

    def close(self, selector: selectors.BaseSelector) -> None:
        """Close the connection, if there is one."""
        self.unwatch(selector)
        connection, self.connection = self.connection, None
        self.lost = self.lost or bool(self.blocked)
        self.blocked = ()
        if connection is not None:
            with suppress(OSError, RedisError):
                connection.disconnect()


def _is_left(connection: ConnectionInterface) -> bool:
    """Whether the server has closed an idle connection, or has sent something unasked."""
    try:
        return connection.can_read(0)
    except (RedisError, OSError):
        return True
