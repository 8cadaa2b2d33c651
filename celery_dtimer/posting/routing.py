"""Which queue a message would have gone to: an event waits in one queue, and only its workers claim it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kombu.entity import Queue

from celery_dtimer.errors import InvalidEventError


def queue_of(queues: Iterable[Any], exchange: str, routing_key: str, declared: Iterable[Any] | None) -> str:
    """Return the name of the queue that the broker would put a message into.

    Args:
        queues: The app's queues, as kombu's objects.
        exchange: Name of the exchange that the message is for; empty for the default exchange.
        routing_key: The message's.
        declared: What Celery would declare before it publishes: the queue that was chosen by its name, if one was.

    Raises:
        InvalidEventError: There is no such queue among the app's, or more than one.
    """
    if not exchange:
        return routing_key
    # Celery declares the default queue too where an exchange was given and no queue.
    for queue in declared or ():
        if isinstance(queue, Queue) and queue.exchange.name == exchange:
            return str(queue.name)
    found = list(dict.fromkeys(str(queue.name) for queue in queues if _is_bound(queue, exchange, routing_key)))
    if len(found) == 1:
        return found[0]
    to = f"the exchange {exchange!r} with the routing key {routing_key!r}"
    if found:
        raise _refused(f"{to} leads to the queues {', '.join(found)}, and an event waits in one: give queue=", exchange)
    raise _refused(
        f"no queue of task_queues is bound to {to}, so the timer can't tell which workers may run the task: give "
        "queue=",
        exchange,
    )


def _refused(text: str, exchange: str) -> InvalidEventError:
    return InvalidEventError(text, argument="exchange", value=exchange)


def _is_bound(queue: Any, exchange: str, routing_key: str) -> bool:
    """Whether the exchange would put a message with this routing key into the queue."""
    for bound, key in _bindings(queue):
        if bound.name != exchange:
            continue
        if bound.type == "fanout":
            raise _refused(
                f"the exchange {exchange!r} is a fanout: a broadcast runs in every worker, an event in one",
                exchange,
            )
        if key == routing_key or (bound.type == "topic" and _matches_topic(key.split("."), routing_key.split("."))):
            return True
    return False


def _bindings(queue: Any) -> Iterator[tuple[Any, str]]:
    """The exchanges that a queue is bound to, each with the routing key."""
    if queue.exchange is not None:
        yield queue.exchange, queue.routing_key or ""
    for binding in queue.bindings or ():
        yield binding.exchange, binding.routing_key or ""


def _matches_topic(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """AMQP's rule: ``*`` is one word, ``#`` any number of words, none included."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_matches_topic(pattern[1:], words[start:]) for start in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _matches_topic(pattern[1:], words[1:])
