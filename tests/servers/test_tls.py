"""rediss://, with a certificate authority of one's own; on the one server that was built with TLS."""

import asyncio
import threading

import pytest
from rig.brokers import BrokerPlace
from rig.certificates import Authority
from rig.core import MainPath
from rig.ports import HOST, free_port
from rig.releases import WITH_TLS, release
from rig.servers import OVERRIDE
from rig.waiting import wait_until

from celery_dtimer.errors import SettingsError, TimerUnavailableError
from celery_dtimer.timer.async_dtimer import AsyncDTimer
from celery_dtimer.timer.dtimer import DTimer


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def start_tls(start_redis, authority, monkeypatch):
    """Starts a server with TLS; returns it, and its rediss:// URL up to the options."""
    monkeypatch.setenv(OVERRIDE, str(release(WITH_TLS).program()))

    def start(**options):
        pair, port = authority.sign("server", host=options.pop("host", HOST)), free_port()
        files = {
            "tls-cert-file": str(pair.certificate),
            "tls-key-file": str(pair.key),
            "tls-ca-cert-file": str(authority.file),
        }
        server = start_redis(options={"tls-port": str(port), "tls-auth-clients": "no", **files, **options})
        return server, f"rediss://{HOST}:{port}/0"

    return start


def test_an_event_is_posted_claimed_and_confirmed(start_tls, authority):
    server, url = start_tls()
    rung = []
    with DTimer(f"{url}?ssl_ca_certs={authority.file}") as timer:
        timer.on_event(rung.append)
        timer.join()
        timer.post(b"p", 0.1, id="x")
        wait_until(lambda: rung, "the event")
        assert timer.confirm(rung[0])
    with server.client() as client:
        wait_until(lambda: {*client.keys()} <= {b"{dt:0}:layout"}, "nothing to be left")


def test_awaited_calls_go_over_tls_and_know_a_certificate_that_is_not_trusted(start_tls, authority):
    _, url = start_tls()

    async def main():
        async with AsyncDTimer(f"{url}?ssl_ca_certs={authority.file}") as timer:
            await timer.post(b"p", 60, id="x")
            assert await timer.cancel("x")
        async with AsyncDTimer(url) as timer:
            with pytest.raises(TimerUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
                await timer.peek("x")

    asyncio.run(main())


def test_a_listener_is_woken_over_a_tls_connection_of_its_own_and_ends_at_once(start_tls, authority):
    server, url = start_tls()
    rung = []
    with server.client() as client, DTimer(f"{url}?ssl_ca_certs={authority.file}") as timer:
        timer.on_event(rung.append)
        for number in range(1, 6):
            timer.join()
            wait_until(lambda: client.info("clients")["blocked_clients"], "the listener to wait on its wake list")
            [waiting] = [row for row in client.client_list() if row["cmd"] == "blpop"]
            assert waiting["laddr"].endswith(url.removesuffix("/0").rpartition(":")[2])
            # Whoever waits takes the token, and that alone lets the listener look before its next poll.
            client.config_resetstat()
            timer.post(b"p", 0, max_redeliveries=0)
            wait_until(lambda number=number: len(rung) == number, "the event")
            assert client.info("commandstats")["cmdstat_rpush"]["calls"] == 1
            timer.leave()
            assert [thread for thread in threading.enumerate() if thread.name.startswith("dtimer")] == []


def test_a_listener_whose_tls_connections_are_killed_goes_on(start_tls, authority):
    server, url = start_tls()
    rung = []
    with server.client() as client, DTimer(f"{url}?ssl_ca_certs={authority.file}") as timer:
        timer.on_event(rung.append)
        timer.on_error(lambda exc: None)
        timer.join()
        for number in range(1, 4):
            wait_until(lambda: client.info("clients")["blocked_clients"], "the listener to wait on its wake list")
            client.client_kill_filter(_type="normal", skipme=True)
            timer.shards[0].server.client.connection_pool.disconnect(inuse_connections=False)
            timer.post(b"p", 0, max_redeliveries=0)
            wait_until(lambda number=number: len(rung) == number, "the event")


def test_a_timer_of_two_shards_is_in_a_cluster_over_tls(start_tls, authority):
    ports = {"cluster-port": str(free_port()), "cluster-enabled": "yes", "tls-cluster": "yes"}
    server, url = start_tls(**ports)
    # It says no name of its own, which is that of the URL's host then.
    url = f"{url.replace('rediss://', 'rediss+cluster://').removesuffix('/0')}?ssl_ca_certs={authority.file}"
    rung = []
    with server.client() as client, DTimer(url, shards=2) as timer:
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16_383)
        wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", "the cluster to serve")
        timer.on_event(rung.append)
        timer.join()
        wait_until(lambda: client.info("clients")["blocked_clients"] == 2, "the listener to wait on both wake lists")
        for number in range(10):
            timer.post(b"p", 0, id=str(number), max_redeliveries=0)
        wait_until(lambda: len(rung) == 10, "the events")


@pytest.mark.parametrize("ca", ["another", "the system's"])
def test_a_server_of_another_authority_is_refused_with_a_clear_error(start_tls, tmp_path, ca):
    _, url = start_tls()
    if ca == "another":
        url = f"{url}?ssl_ca_certs={Authority(tmp_path, 'another').file}"
    with DTimer(url) as timer, pytest.raises(TimerUnavailableError, match="certificate verify failed"):
        timer.post(b"p", 60)


def test_a_listener_that_refuses_the_server_says_so(start_tls):
    _, url = start_tls()
    errors = []
    with DTimer(url) as timer:
        timer.on_event(timer.confirm)
        timer.on_error(errors.append)
        timer.join()
        wait_until(lambda: errors, "the error")
    assert "certificate verify failed" in str(errors[0])


def test_a_certificate_of_another_host_is_refused_with_a_clear_error(start_tls, authority):
    _, url = start_tls(host="127.0.0.2")
    url = f"{url}?ssl_ca_certs={authority.file}&ssl_check_hostname=true"
    with DTimer(url) as timer, pytest.raises(TimerUnavailableError, match="IP address mismatch"):
        timer.post(b"p", 60)


def test_a_server_may_ask_for_a_certificate_of_the_clients(start_tls, authority):
    _, url = start_tls(**{"tls-auth-clients": "yes"})
    url = f"{url}?ssl_ca_certs={authority.file}"
    # With TLS 1.3 the server hangs up after the client's part is done: what that looks like is a matter of luck.
    with DTimer(url) as timer, pytest.raises(TimerUnavailableError, match="did not answer"):
        timer.post(b"p", 60)
    pair = authority.sign("client")
    with DTimer(f"{url}&ssl_certfile={pair.certificate}&ssl_keyfile={pair.key}") as timer:
        assert timer.cancel(timer.post(b"p", 60))


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_file_that_is_not_there_is_named(option, tmp_path):
    with pytest.raises(SettingsError, match=rf"{option}=.*nothing\.pem.*no file that can be read"):
        DTimer(f"rediss://{HOST}:1/0?{option}={tmp_path / 'nothing.pem'}")


class TestWorker(MainPath):
    """All that a worker speaks to is behind TLS: its broker, its results, its timer."""

    @pytest.fixture(params=["prefork", "threads"])
    def pool(self, request):
        return request.param

    @pytest.fixture
    def tls_url(self, start_tls, authority):
        _, url = start_tls()
        return lambda database: f"{url[:-1]}{database}?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={authority.file}"

    @pytest.fixture
    def broker_place(self, tls_url):
        return BrokerPlace(tls_url(1))

    @pytest.fixture
    def result_backend_url(self, tls_url):
        # Not ours: the project itself reads its records from there, with redis-py's words.
        return tls_url(2).replace("CERT_REQUIRED", "required")

    @pytest.fixture
    def timer_url(self, tls_url):
        return tls_url(0)
