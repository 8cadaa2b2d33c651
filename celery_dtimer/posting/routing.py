"""Which broker and queue a message would have gone to: an event waits in one queue, and only its workers claim it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kombu.connection import Connection
from kombu.entity import Queue
from kombu.transport import virtual

from celery_dtimer.celery_patches.apps import matches_kombu_topic
from celery_dtimer.errors import InvalidEventError

#: Whether a topic exchange would put a message with the second routing key into a queue that is bound with the first.
TopicRule = Callable[[str, str], bool]


def queue_of(app: Any, exchange: str, routing_key: str, declared: Iterable[Any] | None, *, named: bool) -> str:
    """Return the name of the queue that the broker would put a message into.

    The exchange and the routing key decide, as in the broker. Where they lead to several queues, the one that was
    named decides, by the call or by its route.

    Args:
        app: The Celery app.
        exchange: Name of the exchange that the message is for; empty for the default exchange.
        routing_key: The message's.
        declared: The entities that Celery would declare before: the queue that was named, else the default queue.
        named: Whether the call named a queue.

    Raises:
        InvalidEventError: There is no such queue among the app's, or more than one.
    """
    if not exchange:
        return routing_key
    queues = [queue for queue in declared or () if isinstance(queue, Queue)]
    chosen = {queue.name for queue in queues if named or queue.name != app.conf.task_default_queue}
    # A queue that was given as an object may be none of the app's.
    queues.extend(app.amqp.queues.values())
    rule = _topic_rule(app)
    bound = (queue for queue in queues if _is_bound(queue, exchange, routing_key, rule, queue.name in chosen))
    found = list(dict.fromkeys(str(queue.name) for queue in bound))
    if len(found) > 1:
        found = [name for name in found if name in chosen] or found
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


def name_of(exchange: Any) -> str:
    """Return the name of an exchange that is given as itself, by its name, or not at all."""
    return str(getattr(exchange, "name", exchange) or "")


def exchanges_of(app: Any, exchange: Any) -> list[Any]:
    """Return the exchange as the app's queues have it, if they do; it is given as itself or by its name."""
    name = name_of(exchange)
    bound = (bound for queue in app.amqp.queues.values() for bound, _ in _bindings(queue))
    return [bound for bound in bound if name and bound.name == name][:1]


def _topic_rule(app: Any) -> TopicRule:
    """Return how the app's broker matches topics: kombu's own for the brokers that have no exchanges, else AMQP's."""
    transport = app.amqp.producer_pool.connections.connection.get_transport_cls()
    return matches_kombu_topic if issubclass(transport, virtual.Transport) else _matches_amqp_topic


def _refused(text: str, exchange: str) -> InvalidEventError:
    return InvalidEventError(text, argument="exchange", value=exchange)


def _is_bound(queue: Any, exchange: str, routing_key: str, rule: TopicRule, chosen: bool) -> bool:
    """Whether the exchange would put a message with this routing key into the queue."""
    for bound, key in _bindings(queue):
        if bound.name != exchange:
            continue
        # RabbitMQ's plugin for delayed messages routes as the type that it is given.
        kind = (bound.arguments or {}).get("x-delayed-type", bound.type)
        if kind == "fanout":
            raise _refused(
                f"the exchange {exchange!r} is a fanout: a broadcast runs in every worker, an event in one",
                exchange,
            )
        if kind == "direct":
            matches = key == routing_key
        elif kind == "topic":
            matches = rule(key, routing_key)
        else:
            matches = chosen  # headers, hashes and so on: only the broker knows
        if matches:
            return True
    return False


def _bindings(queue: Any) -> Iterator[tuple[Any, str]]:
    """The exchanges that a queue is bound to, each with the routing key."""
    if queue.exchange is not None:
        yield queue.exchange, queue.routing_key or ""
    for binding in queue.bindings or ():
        yield binding.exchange, binding.routing_key or ""


def _matches_amqp_topic(pattern: str, routing_key: str) -> bool:
    return _matches_words(pattern.split("."), routing_key.split("."))


def _matches_words(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """AMQP's rule: ``*`` is one word, ``#`` any number of words, none included."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_matches_words(pattern[1:], words[start:]) for start in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _matches_words(pattern[1:], words[1:])


#: What a publish retry policy may have (``kombu.Connection.ensure``).
OF_RETRIES = ("max_retries", "interval_start", "interval_step", "interval_max", "retry_errors")


def is_for_another_broker(app: Any, call: Mapping[str, Any]) -> bool:
    """Whether the call's ``connection`` or ``producer`` leads elsewhere than the app's own would.

    Celery itself passes producers of the app's own broker, for the members of a group and from beat. A source whose
    broker can't be told counts as another's: the call is left to Celery then.

    Args:
        app: The Celery app.
        call: The parameters of ``send_task``.
    """
    # Celery's own order: a connection goes before a producer.
    source = call.get("connection") or call.get("producer") or call.get("publisher")
    if not source:
        return False
    connection = source if isinstance(source, Connection) else _connection_of(source)
    return not isinstance(connection, Connection) or _address(connection) not in _own_addresses(app)


def _connection_of(source: Any) -> Any:
    """The connection of a producer, or of a channel."""
    connection = getattr(source, "connection", None)
    return connection if isinstance(connection, Connection) else getattr(connection, "client", None)


def _own_addresses(app: Any) -> Iterator[tuple[Any, ...]]:
    for connection in (app.connection_for_write(), app.connection_for_read()):
        yield _address(connection)
        for url in connection.alt:
            connection.switch(url)
            yield _address(connection)


def _address(connection: Any) -> tuple[Any, ...]:
    defaults = connection.transport.default_connection_params
    host, port, vhost = (
        getattr(connection, name) or defaults.get(name) for name in ("hostname", "port", "virtual_host")
    )
    # The options too: they may have a prefix for all queues, or the folders that are the broker. But kombu's
    # Producer.publish adds its retry policy to those of the connection that it has used.
    options = {name: value for name, value in connection.transport_options.items() if name not in OF_RETRIES}
    return connection.get_transport_cls(), host, port, vhost, options
