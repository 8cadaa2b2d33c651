"""What the servers of a cluster do, as far as the timer builds on it, and the rig that makes them do it."""

import pytest
from members import Call, blocks
from redis.exceptions import AskError, MovedError, TryAgainError
from rig.cluster import slot_of
from rig.waiting import wait_until

KEYS = [f"{{dt:1}}:{name}" for name in ("a", "b", "never")]  # the last one is never there
SLOT = slot_of(KEYS[0])
SCRIPT = "return redis.call('EXISTS', KEYS[1], KEYS[2])"


@pytest.fixture
def ends(calm):
    """The slot's master, with two keys in it, and the one that it moves to."""
    source = calm.master_of(KEYS[0])
    target = next(server for server in calm.masters() if server is not source)
    with source.client() as client:
        client.mset({KEYS[0]: 1, KEYS[1]: 2})
    yield source, target
    with calm.master_of(KEYS[0]).client() as client:
        client.delete(*KEYS)


def run(server, *, asking=False):
    """What a script with all three keys answers."""
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        if asking:
            pipe.execute_command("ASKING")
        pipe.eval(SCRIPT, len(KEYS), *KEYS)
        return pipe.execute(raise_on_error=False)[-1]


def test_while_a_slot_moves_no_script_runs_that_names_a_key_which_is_never_there(calm, ends):
    source, target = ends
    assert run(source) == 2
    assert type(run(target)) is MovedError
    calm.begin_migration(SLOT, target)
    for moved, answer in ((None, TryAgainError), (KEYS[0], TryAgainError), (KEYS[1], AskError)):
        if moved is not None:
            calm.move_key(moved, target)
        assert type(run(source)) is answer, moved
        assert type(run(target)) is MovedError
        assert type(run(target, asking=True)) is TryAgainError
    calm.end_migration(SLOT, target)
    assert type(run(source)) is MovedError
    assert run(target) == 2


@pytest.mark.parametrize("way", ["migrate", "migrate_at_once"])
def test_who_blocks_on_a_key_is_sent_away_when_its_slot_has_moved(calm, ends, way):
    source, target = ends
    with source.client(socket_timeout=40) as client:
        call = Call(client.blpop, ["{dt:1}:wake"], 30)
        wait_until(lambda: blocks(source), "the client to block")
        getattr(calm, way)(SLOT, target)
        with pytest.raises(MovedError):
            call.result(10)
    assert calm.master_of(KEYS[0]) is target
    assert run(target) == 2


def test_a_replica_takes_over_with_what_it_had_and_the_killed_master_follows_it(fleet):
    old, replica = fleet.master_of(KEYS[0]), fleet.replica_of(KEYS[0])
    with old.client() as client:
        client.set(KEYS[0], "kept")
        fleet.wait_for_replicas()
        fleet.cut_off(KEYS[0])
        wait_until(lambda: not client.info("replication")["connected_slaves"], "the link to break")
        client.set(KEYS[1], "lost")
    assert fleet.fail_over(KEYS[0]) is replica
    fleet.heal()
    assert fleet.master_of(KEYS[0]) is replica
    assert fleet.replica_of(KEYS[0]) is old
    with replica.client() as client:
        assert client.mget(KEYS) == [b"kept", None, None]
