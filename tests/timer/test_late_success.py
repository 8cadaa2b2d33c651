"""What has ended well ends its event, whoever holds it by then; and nothing else is ended by that."""

from rig.waiting import wait_until
from seeds import event, seed

from celery_dtimer import State

LAPSED_MS = -60_000  # the lease of a claim that is over when it is made


def end_well(store, *deliveries):
    return list(store.ask(store.confirm("default", deliveries, ended_well=True)))


def test_a_success_ends_an_event_that_another_listener_holds(timer, store, claim):
    seed(store, event("x"))
    (late,) = claim(lease_ms=LAPSED_MS)
    (other,) = claim(listener="other")
    assert (late.key, late.token != other.token) == (other.key, True)
    assert timer.confirm(late) is False
    assert end_well(store, late) == [2]
    assert timer.peek("x") is None
    assert list(store.ask(store.renew("default", 1000, [other]))) == [0]
    assert timer.confirm(other) is False
    assert claim() == []


def test_a_success_whose_lease_lapsed_and_that_nobody_else_has_claimed_is_a_confirm(timer, store, claim):
    seed(store, event("x"))
    assert end_well(store, *claim(lease_ms=LAPSED_MS)) == [1]
    assert timer.peek("x") is None


def test_a_late_success_leaves_what_was_given_back_and_may_have_been_kept_by_a_post_since(timer, store, claim):
    seed(store, event("x"))
    (late,) = claim(lease_ms=LAPSED_MS)
    (other,) = claim()
    assert list(store.ask(store.release("default", [other], backoff_ms=60_000, counted=False))) == [1]
    assert timer.post(b"payload", 0, id="x", on_conflict="keep") == "x"
    assert end_well(store, late) == [0]
    assert timer.peek("x").state is State.PENDING


def test_a_late_success_changes_nothing_where_its_event_was_cancelled_parked_or_confirmed(
    timer, store, claim, redis_client
):
    seed(store, *(event(name) for name in ("cancelled", "parked", "confirmed")))
    lates = claim(lease_ms=LAPSED_MS)
    others = {delivery.id: delivery for delivery in claim()}
    store.ask(store.release("default", [others["cancelled"]], counted=False))
    assert timer.cancel("cancelled")
    store.ask(store.park("default", [others["parked"]], "no more"))
    assert timer.confirm(others["confirmed"])
    assert end_well(store, *lates) == [0, 0, 0]
    assert timer.peek("parked").reason == "no more"
    assert timer.peek("cancelled") is timer.peek("confirmed") is None


def test_a_late_success_leaves_what_was_posted_anew_under_its_id(timer, store, claim):
    seed(store, event("x"))
    (late,) = claim(lease_ms=LAPSED_MS)
    (other,) = claim()
    timer.post(b"new", 0, id="x")
    assert end_well(store, late) == [2]
    assert timer.confirm(other) is False
    (new,) = wait_until(claim, "the new one to be claimed")
    assert (new.payload, new.is_first) == (b"new", True)
    assert end_well(store, late) == [0]
    assert timer.confirm(new) is True


def test_a_delivery_knows_whether_it_is_the_first(store, claim):
    seed(store, event("x"))
    (first,) = claim(lease_ms=LAPSED_MS)
    (second,) = claim()
    assert list(store.ask(store.release("default", [second], counted=False))) == [1]
    (third,) = wait_until(claim, "what was given back to be claimable")
    assert [delivery.is_first for delivery in (first, second, third)] == [True, False, False]
