"""``celery dtimer doctor``: each planted fault is found, and nothing on a healthy set-up."""

import json
import pathlib
import random
from datetime import UTC, datetime

import pytest
from rig.ports import HOST, free_port
from rig.waiting import wait_until

from celery_dtimer import get_timer
from celery_dtimer.extension import extension_of
from celery_dtimer.operating.doctor import diagnose
from celery_dtimer.operating.doctor_kinds import KINDS

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "doctor.md"
PAST = datetime(2026, 1, 1, tzinfo=UTC)
LIVING = {"version": "1", "namespace": "dt", "queues": ["q"], "settings": {"shards": 1}, "redis": {"last_round": 1.0}}
DURABLE = {"appendonly": "yes"}


@pytest.fixture
def examined(make_app, start_redis):
    """Diagnoses an app on a durable Redis of its own; returns the kinds found."""

    def examined(url=None, reports=None, *, options=DURABLE, prepare=None, **settings):
        server = None if url else start_redis(options=options)
        app = make_app(dtimer_url=url or server.url, task_default_queue="q", **settings)
        if prepare:
            with server.client() as client:
                prepare(app, client)
        diagnosis = diagnose(app, extension_of(app), reports)
        return {finding.name for finding in diagnosis.findings}, diagnosis

    return examined


def post(app, **options):
    """Post a task of the app."""

    @app.task(name="nothing")
    def nothing(*args):
        pass

    return nothing.post(options.pop("args", ()), **options)


def claim(app, lease_ms):
    post(app, delay=0)
    store = extension_of(app).shards[0]
    call = store.claim(["q"], listener="l", holder="gone@host", nonce="n", room=1, lease_ms=lease_ms, ahead_ms=1000)
    return store, store.read_claim(store.ask(call), ["q"]).deliveries


def test_a_healthy_timer_has_no_finding(examined):
    found, diagnosis = examined(reports={"one@host": LIVING}, prepare=lambda app, _: post(app, delay=60))
    assert found == set()
    assert diagnosis.not_checked == []


@pytest.mark.parametrize(
    ("options", "settings", "finding"),
    [
        ({}, {}, "no-persistence"),
        ({**DURABLE, "maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, {}, "evicts-keys"),
        ({**DURABLE, "maxmemory": "1mb"}, {}, "nearly-full"),
        (DURABLE, {"dtimer_wait_replicas": 2}, "too-few-replicas"),
    ],
)
def test_a_fault_of_the_server_is_found(examined, options, settings, finding):
    assert examined(options=options, **settings)[0] == {finding}


def test_a_cluster_behind_a_plain_url_is_found(examined):
    found, _ = examined(options={**DURABLE, "cluster-enabled": "yes"})
    assert "cluster-behind-plain-url" in found


def test_a_failed_save_is_found(examined):
    def fail(app, client):
        # A folder stands where the file should be.
        folder = client.config_get("dir")["dir"]
        pathlib.Path(folder, client.config_get("dbfilename")["dbfilename"]).mkdir()
        client.set("some", "key")
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] != "ok", "the save to fail")
        client.delete("some")

    assert examined(prepare=fail)[0] == {"save-failed"}


@pytest.mark.parametrize(
    ("prepare", "reports", "finding"),
    [
        (lambda app, _: post(app, eta=PAST), {}, "nobody-listens"),
        (lambda app, _: post(app, eta=PAST), {"one@host": LIVING}, "overdue"),
        (lambda app, _: post(app, eta=PAST), {"one@host": LIVING}, "wake-token-stuck"),
        (lambda app, _: claim(app, 60_000), {"one@host": LIVING}, "holder-gone"),
        (lambda app, _: claim(app, 500), {"gone@host": LIVING}, "lease-near-lapse"),
        (lambda app, _: claim(app, -6000), {"gone@host": LIVING}, "lease-lapsed"),
        (lambda app, client: client.hset(extension_of(app).shards[0].keys.damaged, "where", "what"), None, "damaged"),
    ],
)
def test_a_fault_of_what_is_stored_is_found(examined, prepare, reports, finding):
    found, diagnosis = examined(prepare=prepare, reports=reports)
    assert finding in found, diagnosis


def test_what_is_parked_is_found(examined):
    def park(app, _):
        store, deliveries = claim(app, 60_000)
        store.ask(store.park("q", deliveries, "why"))

    assert examined(prepare=park)[0] == {"parked"}


def test_a_big_payload_is_found(examined):

    text = random.Random(1).randbytes(150_000).hex()
    assert examined(prepare=lambda app, _: post(app, delay=60, args=(text,)))[0] == {"big-payload"}


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"version": "2"}, "versions-differ"),
        ({"namespace": "other"}, "settings-differ"),
        ({"settings": {"shards": 2}}, "settings-differ"),
        ({"paused": True}, "worker-paused"),
        ({"redis": {"failing_for": 60.0, "last_round": 60.0}}, "worker-cut-off"),
        ({"redis": {"last_round": 60.0}}, "listener-stuck"),
        ({"redis": {"clock_offset": -5.0}}, "clock-offset"),
    ],
)
def test_a_fault_that_a_worker_reports_is_found(examined, change, finding):
    assert examined(reports={"one@host": LIVING, "two@host": {**LIVING, **change}})[0] == {finding}


def test_a_short_visibility_timeout_is_found(examined, redis_url):
    options = {"broker_transport_options": {"visibility_timeout": 60}, "dtimer_takeover": 600}
    assert examined(broker=redis_url, **options)[0] == {"visibility-timeout"}


def test_another_layout_is_found(examined):
    def old(app, client):
        post(app, delay=60)
        [key] = client.keys("*:layout")
        client.set(key, "99 1")

    assert "layout-differs" in examined(prepare=old)[0]


@pytest.mark.slow
def test_a_replica_that_lags_is_found(examined, start_redis):
    replica = start_redis()

    def follow(app, client):
        with replica.client() as follower:
            follower.replicaof(HOST, client.connection_pool.connection_kwargs["port"])
        wait_until(lambda: client.info("replication")["connected_slaves"], "the replica to come")
        wait_until(lambda: client.info("replication")["slave0"]["state"] == "online", "the replica to be in step")
        replica.pause()
        wait_until(lambda: client.info("replication")["slave0"]["lag"] > 10, "it to lag", timeout=30)

    try:
        assert examined(prepare=follow)[0] == {"replica-lag"}
    finally:
        replica.resume()


def test_what_an_acl_forbids_is_not_checked(examined, start_redis):
    server = start_redis(options=DURABLE)
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "some", "on", ">word", "~*", "&*", "+@all", "-info", "-config")
    found, diagnosis = examined(server.url.replace("://", "://some:word@"), {})
    assert found == set()
    assert {check.name for check in diagnosis.not_checked} >= {"server_version", "memory", "persistence"}


def test_the_command_has_a_status(quick, note):
    note.post((1,), eta=PAST)
    shown = quick("doctor", "--json")
    told = json.loads(shown.output)
    # The shared server keeps nothing on disk.
    assert {row["name"] for row in told["findings"]} == {"no-persistence", "nobody-listens"}
    assert shown.exit_code == 1
    assert "ERROR nobody-listens: queue celery has 1 event" in quick("doctor").output
    assert quick("doctor", "--live").exit_code == 2


def test_a_redis_that_is_away_can_not_be_checked(command, worker_app):
    shown = command("doctor", DTIMER_URL=f"redis://{HOST}:{free_port()}")
    assert (shown.returncode, "Traceback" in shown.stderr) == (2, False)


def test_the_page_has_every_kind_of_finding():
    rows = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    shown = {row[0].strip("|` "): (row[1], row[2], row[3].removesuffix(" |")) for row in rows}
    assert shown == {name: (kind.severity, kind.consequence, kind.remedy) for name, kind in KINDS.items()}


def test_a_catch_up_limit_is_told_in_place_of_overdue_events(examined):
    def limit(app, _):
        post(app, eta=PAST)
        get_timer(app).limit_catch_up(0.001)

    listening = {"one@host": LIVING}
    found, diagnosis = examined(reports=listening, prepare=limit)
    assert found == {"catching-up"}
    assert diagnosis.findings[0].found.endswith("at most 0.001 a second are claimed: 16 m")
    found, _ = examined(reports={}, prepare=limit)
    assert found == {"catching-up", "nobody-listens"}
