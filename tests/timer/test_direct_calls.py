"""Calls of scripts go out over a client's connections, past the client, unless somebody looks on."""

import os
import threading

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.connection import Connection
from rig.waiting import wait_until

from celery_dtimer import DTimer
from celery_dtimer.timer.connecting import redis_patches
from celery_dtimer.timer.connecting.direct import Direct
from celery_dtimer.timer.connecting.packing import packed

ANSWER = "return ARGV[1]"
KEYS = st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30), max_size=20)
KEYS |= st.lists(st.binary(max_size=30))
ARGS = st.lists(st.binary(max_size=300) | st.text(alphabet=st.characters(exclude_categories=["Cs"])) | st.integers())


@settings(deadline=None)
@given(keys=KEYS, args=ARGS)
def test_a_call_is_encoded_byte_for_byte_as_by_redis_py(keys, args):
    command = ("EVALSHA", "0" * 40, len(keys), *keys, *args)
    assert packed(command) == b"".join(Connection().pack_command(*command))
    assert packed(command) == packed(command)  # the first part is kept


@pytest.mark.parametrize("arg", [1.5, True, None, memoryview(b"x"), bytearray(b"x"), type("Text", (str,), {})("x")])
def test_arguments_of_other_types_are_for_redis_py_to_encode_or_to_refuse(arg):
    assert packed(("EVALSHA", "0" * 40, 0, arg)) is None
    assert packed(("GET", "key")) is None


@pytest.fixture
def client(redis_client, redis_url):
    """A client of a timer, whose server knows a script that returns its argument."""
    with DTimer(redis_url) as timer:
        redis_client.script_load(ANSWER)
        yield timer.shards[0].server.client


def call(client, arg=b"x"):
    return ("EVALSHA", client.script_load(ANSWER), 0, arg)


def test_replies_come_in_order_and_a_refused_call_has_its_error(client):
    replies = Direct(client).send([call(client, 1), ("EVALSHA", "0" * 40, 0), call(client, 2)])
    assert replies[::2] == [b"1", b"2"]
    assert isinstance(replies[1], redis.exceptions.NoScriptError)


def test_other_commands_are_left_to_the_client(client):
    assert Direct(client).send([call(client), ("GET", "key")]) is None


def wrapped(seen, method):
    def watching(self, *args, **options):
        seen.append(args)
        return method(self, *args, **options)

    return watching


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (redis.Redis, "execute_command"),
        (redis.Redis, "parse_response"),
        (redis.client.Pipeline, "execute"),
        (redis.Connection, "send_command"),
        (redis.connection.AbstractConnection, "send_command"),
    ],
)
def test_who_puts_a_method_around_one_of_redis_pys_sees_the_calls(timer, monkeypatch, owner, name):
    seen = []
    timer.post(b"unseen", 60)
    monkeypatch.setattr(owner, name, wrapped(seen, getattr(owner, name)))
    timer.post(b"seen", 60)
    assert name == "execute" or len(seen) == 1
    assert Direct(timer.shards[0].server.client).send([("EVALSHA", "0" * 40, 0)]) is None


def test_a_method_around_that_of_one_client_sees_its_calls(timer, monkeypatch):
    seen = []
    client = timer.shards[0].server.client
    execute = client.execute_command
    timer.post(b"unseen", 60)
    monkeypatch.setattr(client, "execute_command", lambda *args: seen.append(args) or execute(*args))
    timer.post(b"seen", 60)
    assert len(seen) == 1


def test_calls_go_through_the_client_while_redis_py_measures_commands(client, monkeypatch):
    assert Direct(client).send([call(client)]) == [b"x"]
    measuring = type("Measuring", (), {"is_enabled": staticmethod(lambda: True)})
    monkeypatch.setattr(redis_patches, "_observed", measuring)
    assert Direct(client).send([call(client)]) is None


@pytest.mark.parametrize("option", ["encoding=latin-1", "encoding_errors=replace"])
def test_connections_with_an_encoding_of_their_own_are_left_to_the_client(redis_url, option):
    client = redis.Redis.from_url(f"{redis_url}{'&' if '?' in redis_url else '?'}{option}")
    assert Direct(client).send([call(client)]) is None
    client.close()


class Interruption(BaseException):
    """As a soft time limit, or a signal, raises it at any point."""


def test_a_connection_whose_reply_nobody_read_is_not_used_again(client, monkeypatch):
    direct = Direct(client)
    for_nobody, mine = call(client, b"for nobody"), call(client, b"mine")
    direct.send([mine])
    read = Connection.read_response

    def interrupted(*args, **options):
        raise Interruption

    monkeypatch.setattr(Connection, "read_response", interrupted)
    with pytest.raises(Interruption):
        direct.send([for_nobody])
    monkeypatch.setattr(Connection, "read_response", read)
    assert direct.send([mine]) == [b"mine"]


def test_a_connection_that_the_server_closed_meanwhile_is_replaced_unnoticed(timer, redis_client):
    timer.post(b"x", 60)
    for one in redis_client.client_list():
        if one["id"] != str(redis_client.client_id()):
            redis_client.client_kill_filter(_id=one["id"])
    timer.post(b"y", 60)


def test_a_client_that_may_have_one_connection_has_it_between_two_calls(redis_url):
    with DTimer(f"{redis_url}{'&' if '?' in redis_url else '?'}max_connections=1") as timer:
        timer.post(b"x", 60, id="x")
        server = timer.shards[0].server
        assert server.client.ping()
        timer.post(b"y", 60, id="y")
        assert timer.count().pending == 2  # with plain commands, by the client
        timer.cancel("x")
        timer.cancel("y")
        assert server.client.ping()


def test_a_pool_has_all_its_connections_between_two_calls(client):
    pool = client.connection_pool
    direct, some = Direct(client), call(client)
    before = idle_and_used(pool)
    for _ in range(3):
        direct.send([some])
    assert idle_and_used(pool) == before == (1, 0)
    pool.disconnect(inuse_connections=False)
    direct.send([some])
    assert idle_and_used(pool) == (1, 0)


def idle_and_used(pool):
    return len(pool._available_connections), len(pool._in_use_connections)


@pytest.mark.parametrize("how", ["disconnect", "close"])
def test_the_end_of_a_server_closes_the_connections_of_its_calls(redis_client, redis_url, how):
    server = DTimer(f"{redis_url}{'&' if '?' in redis_url else '?'}client_name=mine").shards[0].server
    server.send([("EVALSHA", redis_client.script_load(ANSWER), 0, b"x")])
    getattr(server, how)()
    wait_until(lambda: all(one["name"] != "mine" for one in redis_client.client_list()), "it is closed")


def test_a_fork_makes_connections_of_its_own_and_leaves_the_parents_alone(client):
    direct, some = Direct(client), call(client, b"the parent's")
    direct.send([some])
    child = os.fork()
    if not child:
        same = direct.send([(*some[:3], b"the child's")]) == [b"the child's"]
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert direct.send([some]) == [b"the parent's"]


def test_threads_do_not_get_each_others_replies(client):
    direct, wrong = Direct(client), []

    def ask(number):
        for turn in range(200):
            arg = f"{number} {turn}".encode()
            reply = direct.send([call_of[0], (*call_of[0][:3], arg)])
            if reply != [b"x", arg]:
                wrong.append(reply)

    call_of = [call(client)]
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("pool", [redis.ConnectionPool, redis.BlockingConnectionPool])
def test_any_protocol_and_any_pool_does(redis_url, protocol, pool):
    client = redis.Redis.from_pool(pool.from_url(redis_url, protocol=protocol))
    assert Direct(client).send([call(client), call(client, 5)]) == [b"x", b"5"]
    client.close()
