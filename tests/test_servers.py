import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from rig.local_server import ServerNotFoundError, ServerStartError
from rig.processes import gone
from rig.servers import CLUSTER, OVERRIDE, RedisServer, server_binary
from rig.waiting import wait_until


def test_a_server_answers_as_soon_as_it_is_started(start_redis):
    server = start_redis()
    with server.client() as client:
        assert client.ping()
        assert client.info("server")["process_id"] == server.pid


def test_a_server_can_listen_on_a_unix_socket_alone(start_redis):
    server = start_redis(unix=True)
    assert server.url.startswith("unix://")
    with server.client(database=3) as client:
        assert client.set("key", "value")
    with pytest.raises(LookupError):
        _ = server.port


def test_a_killed_server_comes_back_empty_at_the_same_address(start_redis):
    server = start_redis()
    url = server.url
    with redis.Redis.from_url(url, retry=None) as client:
        client.set("key", "value")
        server.kill()
        assert not server.running
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.restart()
        assert server.url == url
        assert client.get("key") is None


@pytest.mark.slow
def test_a_server_can_be_a_cluster_of_one_node_also_after_a_restart(start_redis, monkeypatch):
    monkeypatch.setenv(CLUSTER, "1")
    server = start_redis()
    assert server.url == f"redis+cluster://127.0.0.1:{server.port}"
    for _ in range(2):
        with server.client() as client:
            assert client.mset({"{a}1": "value", "{a}2": "value"})
            with pytest.raises(redis.RedisError, match="slot"):
                client.mset({"{a}": "value", "{b}": "value"})
        server.restart()


def test_an_option_lets_a_restarted_server_keep_its_data(start_redis):
    server = start_redis(options={"appendonly": "yes", "appendfsync": "always"})
    with server.client() as client:
        client.set("key", "value")
        server.kill()
        server.restart()
        assert client.get("key") == b"value"


def test_a_paused_server_answers_nothing_until_it_is_resumed(start_redis):
    server = start_redis()
    with server.client(socket_timeout=0.1, retry=None) as client:
        assert client.ping()
        server.pause()
        assert server.running
        with pytest.raises(redis.TimeoutError):
            client.ping()
    server.resume()
    with server.client() as client:
        assert client.ping()


def test_a_paused_server_can_be_closed(start_redis):
    server = start_redis()
    pid = server.pid
    server.pause()
    server.close()
    assert gone(pid)


def test_servers_of_a_killed_test_run_are_ended_all_the_same(tmp_path):
    program = (
        "import os; from rig.servers import RedisServer; "
        "print(RedisServer().start().pid, flush=True); os.kill(os.getpid(), 9)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), "TMPDIR": str(tmp_path)},
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL
    wait_until(lambda: gone(int(run.stdout)), "the orphaned server to be ended")


def test_a_refused_option_is_an_error_that_shows_the_log():
    with pytest.raises(ServerStartError, match="no-such-option"):
        RedisServer(options={"no-such-option": "1"}).start()


def test_a_missing_server_program_is_an_error_and_no_skip(monkeypatch, tmp_path):
    monkeypatch.setenv(OVERRIDE, str(tmp_path / "nothing"))
    with pytest.raises(ServerNotFoundError, match="nothing"):
        RedisServer().start()


def test_the_path_of_a_chosen_server_is_not_resolved(monkeypatch, tmp_path):
    link = tmp_path / "redis-server"
    link.symlink_to(server_binary())
    monkeypatch.setenv(OVERRIDE, str(link))
    assert server_binary() == link
    with RedisServer() as server, server.client() as client:
        assert client.ping()


def test_waiting_in_vain_names_what_was_waited_for():
    with pytest.raises(AssertionError, match=r"waited 0\.01 s in vain for: the moon"):
        wait_until(lambda: None, "the moon", timeout=0.01)


def test_waiting_hands_back_what_came():
    answers = iter([0, "", [7]])
    assert wait_until(lambda: next(answers), "a list") == [7]
