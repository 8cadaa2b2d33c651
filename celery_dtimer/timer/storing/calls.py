"""One shard's calls: a script is sent with its keys; again if Redis does not know it, or it asks for more keys."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Literal, Self

from redis.exceptions import NoScriptError, RedisError, ResponseError

from celery_dtimer.errors import SettingsError
from celery_dtimer.timer.connecting.server import Command, Server
from celery_dtimer.timer.connecting.steps import Sending, Steps, run
from celery_dtimer.timer.connecting.url import TIMEOUT
from celery_dtimer.timer.owners import DTIMER, Owner
from celery_dtimer.timer.storing.failures import unavailable, unavailable_named
from celery_dtimer.timer.storing.keys import Keys
from celery_dtimer.timer.storing.replicas import Replication
from celery_dtimer.timer.storing.scripts import NAMES, Call, load

#: Version of the keys and the records: a process that meets another version changes nothing.
LAYOUT = 1

#: Queues in one call: three keys each, and Redis' relatives take some four thousand arguments.
MOST_QUEUES = 1000

#: Where a call says what it does, if its script does several things: for the error.
NAMED = {"verdicts": 0, "replay": 0}

#: Attempts of a call that meets its event in a queue that it did not name, and is sent again with that queue's keys.
MOST_QUESTIONS = 20


class Calls:
    """Sends the calls of one shard.

    Args:
        server: The shard's server.
        keys: The shard's key names.
        replication: The replicas that a post waits for; by default none.
        shards: Number of shards of the namespace.
        first: Its first shard, whose layout counts; None: this one.
        owner: Owner of the events.
    """

    def __init__(
        self,
        server: Server,
        keys: Keys,
        replication: Replication | None = None,
        *,
        shards: int = 1,
        first: "Calls | None" = None,
        owner: Owner = DTIMER,
    ) -> None:
        self.server = server
        self.keys = keys
        self.replication = replication or Replication()
        self._shards = shards
        self._first = first
        self._owner = owner
        self._layout = f"{LAYOUT}/{shards}"
        self._usual: Sequence[str] = ()  # the queue of the last event: named first for the next

    def at(self, server: Server, first: "Calls | None") -> Self:
        """Return the same shard, and the first, over other connections."""
        twin = copy(self)
        twin.server = server
        twin._first = first  # noqa: SLF001 - its own
        return twin

    def ask(self, call: Call, *event_ids: str) -> Any:
        """Send one call and return its reply, see ``ask_steps``."""
        return run(self.ask_steps(call, *event_ids))

    def ask_steps(self, call: Call, *event_ids: str, behind: Sequence[Command] = ()) -> Steps[Any]:
        """Send one call, again with the keys of each queue that it asks for.

        Args:
            call: The call.
            event_ids: Ids of the events that it is about, for the error.
            behind: Commands that follow it on its connection, wherever and however often it is sent.

        Returns:
            The reply; with commands behind, a list of it and theirs.

        Raises:
            TimerUnavailableError: Redis did not answer, or refused the call.
        """
        try:
            for _ in range(MOST_QUESTIONS):
                replies = yield from self.run_all_steps([call], behind, patience=TIMEOUT)
                reply = replies[0]
                if isinstance(reply, Exception):
                    raise (yield from self._explain_steps(call, reply))
                if not (isinstance(reply, list) and reply and reply[0] == b"QUEUES"):
                    return replies if behind else reply
                call = self._with_queues(call, reply)
            raise RedisError(f"{call.script.name} met its event in another queue {MOST_QUESTIONS} times")
        except (RedisError, OSError) as exc:
            # Not with a context, which would cost every call.
            name = call.script.name
            raise unavailable(exc, call.args[NAMED[name]] if name in NAMED else name, *event_ids) from exc

    def ask_each(self, calls: Mapping[str, Call], replies: dict[str, Any]) -> None:
        """Send calls in one round trip, and those that ask for keys of other queues in further ones.

        Args:
            calls: The calls, by the ids of the events that they are about.
            replies: Gets the reply to each.

        Raises:
            TimerUnavailableError: Redis did not answer, or refused a call; ``replies`` has what was answered.
        """
        left = dict(calls)
        operation = next(iter(calls.values())).script.name
        for _ in range(MOST_QUESTIONS):
            with unavailable_named(operation, *left):
                found = run(self.run_all_steps(list(left.values()), patience=TIMEOUT))
                refused: Exception | None = None
                asking: dict[str, Call] = {}
                for (event_id, call), reply in zip(left.items(), found, strict=True):
                    if isinstance(reply, Exception):
                        refused = refused or self.explained(call, reply)
                    elif isinstance(reply, list) and reply and reply[0] == b"QUEUES":
                        asking[event_id] = self._with_queues(call, reply)
                    else:
                        replies[event_id] = reply
                if refused is not None:
                    raise refused
            left = asking
            if not left:
                return
        with unavailable_named(operation, *left):
            raise RedisError(f"{operation} met its events in other queues {MOST_QUESTIONS} times")

    def _with_queues(self, call: Call, reply: list[bytes]) -> Call:
        """Return a call with the keys of the queues that the reply to it asks for."""
        # A name that is no text can't be one of ours: its error says so.
        queues = [queue.decode() for queue in reply[1:]]
        self._usual = queues[-1:]
        return replace(call, keys=tuple(dict.fromkeys((*call.keys, *self.keys.named((), queues)))))

    def run_all_steps(
        self,
        calls: Sequence[Call],
        behind: Sequence[Command] = (),
        *,
        patience: float = 0.0,
        meanwhile: Callable[[], None] | None = None,
    ) -> Steps[list[Any]]:
        """Send calls in one round trip; a refused one has its error for a reply.

        Args:
            calls: The calls.
            behind: Commands that follow the only call, see ``ask_steps``.
            patience: Seconds to wait for a cluster that is changing.
            meanwhile: See ``Server.send``.
        """
        server, together = self.server, bool(behind)
        replies: list[Any] = yield Sending(
            server, [*(self._command(call, "EVALSHA") for call in calls), *behind], together, patience, meanwhile
        )
        for i, call in enumerate(calls):
            if not isinstance(replies[i], ResponseError):
                continue
            if isinstance(replies[i], NoScriptError):
                # EVAL keeps the script for the next time.
                again = Sending(server, [self._command(call, "EVAL"), *behind], together, patience)
                replies[i], *replies[len(calls) :] = yield again
            if isinstance(replies[i], ResponseError) and str(replies[i]).startswith("LAYOUT"):
                # The script found another layout than ours, or none, and changed nothing.
                yield from self.check_layout_steps()
                again = Sending(server, [self._command(call, "EVAL"), *behind], together, patience)
                replies[i], *replies[len(calls) :] = yield again
        return replies

    def load_scripts(self) -> None:
        """Send all scripts ahead, so that no call of run_all_steps is sent again after the ones behind it."""
        for reply in self.server.send([("SCRIPT LOAD", load(name).source) for name in NAMES]):
            if isinstance(reply, Exception):
                raise reply

    def check_layout(self) -> None:
        """Make sure that the namespace has our layout, see ``check_layout_steps``."""
        run(self.check_layout_steps())

    def check_layout_steps(self) -> Steps[None]:
        """Make sure that the namespace has our layout and our number of shards; write both down if it is new.

        A namespace that lost all its data is new: the first to notice writes both down again, first in the first
        shard, or learns there that a process with other settings was faster.

        Raises:
            SettingsError: It has others.
            redis.RedisError, OSError: Redis did not answer.
        """
        if self._first is not None:
            yield from self._first.check_layout_steps()
        key = self.keys.layout
        found = yield from self._plain_steps("GET", key)
        if found is None:
            yield from self._plain_steps("SET", key, self._layout, "NX")
            found = yield from self._plain_steps("GET", key)
        if found != self._layout.encode():
            raise self._misfit(found or b"")

    def _misfit(self, found: bytes) -> SettingsError:
        layout, _, shards = found.decode(errors="replace").partition("/")
        namespace, named = self.keys.namespace, self._owner.named
        if layout == str(LAYOUT) and shards.isdigit():
            return SettingsError(
                f"{named('shards')} is {self._shards}, but the namespace {namespace!r} was first used with {shards}, "
                f"and that can't be changed: set {named('shards')} to {shards}, or take another {named('namespace')}",
                setting=named("shards"),
                value=self._shards,
            )
        return SettingsError(
            f"the namespace {namespace!r} has the layout {layout!r}, and this version of celery-dtimer knows layout "
            f"{LAYOUT}: use the version that wrote it, or take another {named('namespace')}",
            setting=named("namespace"),
            value=namespace,
        )

    def queues(self, operation: str) -> list[list[str]]:
        """Return the names of the queues that hold anything, see ``queues_steps``."""
        return run(self.queues_steps(operation))

    def queues_steps(self, operation: str) -> Steps[list[list[str]]]:
        """Return the names of the queues that hold anything, in portions for one call each; one at least.

        Args:
            operation: The operation that needs them, for the error.
        """
        with unavailable_named(operation):
            found = yield from self._plain_steps("HKEYS", self.keys.promise)
            names = sorted(text_of(name)[0] for name in found)
        return [names[i : i + MOST_QUEUES] for i in range(0, max(1, len(names)), MOST_QUEUES)]

    def _plain(self, *command: Any) -> Any:
        return run(self._plain_steps(*command))

    def _plain_steps(self, *command: Any) -> Steps[Any]:
        reply = (yield Sending(self.server, [command], patience=TIMEOUT))[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _command(self, call: Call, name: Literal["EVALSHA", "EVAL"]) -> Command:
        script = call.script
        behind = (self.keys.absent, self.keys.layout) if self.server.in_cluster else (self.keys.layout,)
        keys = (*call.keys, *behind)
        return (name, script.sha if name == "EVALSHA" else script.source, len(keys), *keys, *call.args, self._layout)

    def call(self, name: str, queues: Sequence[str], *args: Any) -> Call:
        """A call of a script, with its own keys and those of some queues."""
        script = load(name)
        return Call(script, self.keys.named(script.keys, queues), args)

    def explained(self, call: Call, exc: Exception) -> Exception:
        """Return an error that names the key of a wrong type, see ``_explain_steps``."""
        return run(self._explain_steps(call, exc))

    def _explain_steps(self, call: Call, exc: Exception) -> Steps[Exception]:
        """Return an error with the name of the key that has a wrong type, if that is the reason and Redis tells."""
        if "WRONGTYPE" not in str(exc):
            return exc
        keys = (*call.keys, self.keys.layout)
        try:
            kinds = yield Sending(self.server, [("TYPE", key) for key in keys])
        except (RedisError, OSError):
            return exc
        for key, kind in zip(keys, kinds, strict=True):
            wanted = self.keys.type_of(key)
            found = kind.decode() if isinstance(kind, bytes) else kind
            if isinstance(found, str) and found not in ("none", wanted):
                return ResponseError(f"WRONGTYPE the key {key} is a {found}, and the timer's is a {wanted}")
        return exc


def tags_of(joined: bytes) -> tuple[str, ...]:
    """The tags of an event, as a script joins them."""
    return tuple(text_of(tag)[0] for tag in joined.split(b"\xff")) if joined else ()


def text_of(data: bytes) -> tuple[str, bool]:
    """The bytes as text, with escapes for those that are none, and whether all are."""
    try:
        return data.decode(), True
    except UnicodeDecodeError:
        return data.decode(errors="backslashreplace"), False
