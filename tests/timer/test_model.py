"""Every operation on the store, run on a real Redis and on a model of it, and every answer compared.

Few ids and two queues, so that the operations meet. Nothing waits: instants are long past or far ahead, and
leases are over when they are made, or last for years.
"""

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from keyspace import contents, finish, snapshot
from seeds import FUTURE_MS, PAST_MS, event

from celery_dtimer.timer.connect import connect
from celery_dtimer.timer.events import Cancellation, Counts
from celery_dtimer.timer.keys import Keys
from celery_dtimer.timer.store import Store

QUEUES = ("one", "two")
BETWEEN_MS = 3_000_000_000_000  # what is due at all is due before
AGES_MS = 10**12  # some 30 years

# Uneven, so that the same ids and the latest deliveries are met again and again.
ids = st.sampled_from("xxxyyz")
spared = st.sampled_from("zzzzzyx")  # or cancels would end nearly everything
queues = st.sampled_from(QUEUES)
bases = st.sampled_from([PAST_MS, PAST_MS, PAST_MS, FUTURE_MS])
picks = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 5])


class Incarnation:
    """One posted event of an id: pending, or leased by a token, or given back (an empty token)."""

    def __init__(self, queue, payload, limit, due_ms):
        self.queue, self.payload, self.limit, self.due_ms = queue, payload, limit, due_ms
        self.key = self.token = None
        self.redeliveries = 0
        self.lapse_ms = None

    @property
    def waits(self):
        return not self.token

    def move(self, due_ms):
        self.due_ms = due_ms
        if self.key is not None:
            self.lapse_ms = due_ms


class Model:
    """Per id the incarnations that are not over, newest last, and what is parked."""

    def __init__(self):
        self.live = {"x": [], "y": [], "z": []}
        self.parked = {}

    def post(self, event_id, new, conflict):
        top = self.live[event_id][-1] if self.live[event_id] else None
        if top is None or not top.waits:
            self.live[event_id].append(new)
        elif conflict == "replace":
            self.live[event_id][-1] = new
        elif conflict == "postpone":
            top.move(new.due_ms)
        else:
            due_ms = top.due_ms if top.key is None else top.lapse_ms
            return due_ms if conflict == "keep" else -due_ms
        return new.due_ms

    def cancel(self, event_id):
        live = self.live[event_id]
        if live and not live[-1].waits:
            return Cancellation.DELIVERED
        found = bool(live) + (self.parked.pop(event_id, None) is not None)
        live.clear()
        return Cancellation.CANCELLED if found else Cancellation.UNKNOWN

    def change(self, event_id, due_ms):
        live = self.live[event_id]
        if not live or not live[-1].waits:
            return None
        live[-1].move(due_ms)
        return due_ms

    def claim(self, names, room):
        """What is claimed, as (id, incarnation), and the ids that are parked."""
        claimed, parked = [], []
        for queue in names:
            again = [(e.lapse_ms, e.key, i, e) for i, e in self.all(queue) if e.key and e.lapse_ms < BETWEEN_MS]
            for _, _, event_id, found in sorted(again)[:room]:
                found.redeliveries += not found.waits
                if found.redeliveries > found.limit:
                    self.end(event_id, found, parked=True)
                    parked.append(event_id)
                else:
                    claimed.append((event_id, found))
                    room -= 1
            due = [(e.due_ms, i, e) for i, e in self.all(queue) if not e.key and e.due_ms < BETWEEN_MS]
            for _, event_id, found in sorted(due)[:room]:
                claimed.append((event_id, found))
                room -= 1
                if not found.limit:
                    self.live[event_id].remove(found)
        return claimed, parked

    def all(self, queue):
        return [(i, e) for i, live in self.live.items() for e in live if e.queue == queue]

    def held(self, delivery):
        """The incarnation that is this delivery's still, or None."""
        found = (e for e in self.live[delivery.id] if delivery.token and e.token == delivery.token)
        return next(found, None)

    def end(self, event_id, found, *, parked=False):
        self.live[event_id].remove(found)
        if parked:
            self.parked[event_id] = found

    def replay(self, event_id, due_ms):
        found = self.parked.get(event_id)
        if found is None or self.live[event_id]:
            return -1 if found is None else -2
        del self.parked[event_id]
        self.live[event_id].append(Incarnation(found.queue, found.payload, found.limit, due_ms))
        return due_ms


class Comparison(RuleBasedStateMachine):
    """Each rule does the same to both and compares what they say."""

    url = ""
    client = None

    def __init__(self):
        super().__init__()
        keys = Keys("dt")
        self.servers = connect(self.url)
        self.store = Store(self.servers.of(keys.events), keys)
        self.model = Model()
        self.deliveries = []
        self.numbers = itertools.count(1)

    def lapse_of(self, found):
        return int(self.client.zscore(f"{{dt:0}}:lease:{found.queue}", found.key))

    def pick(self, number):
        return self.deliveries[-1 - number % len(self.deliveries)]

    @rule(
        event_id=ids,
        base_ms=bases,
        queue=queues,
        limit=st.sampled_from([0, 1, 20]),
        conflict=st.sampled_from(["error", "keep", "replace", "postpone"]),
    )
    def post(self, event_id, base_ms, queue, limit, conflict):
        number = next(self.numbers)
        payload, due_ms = b"%d" % number, base_ms + number
        new = event(event_id, due_ms, payload=payload, max_redeliveries=limit, queue=queue)
        expected = self.model.post(event_id, Incarnation(queue, payload, limit, due_ms), conflict)
        assert self.store.post([new], conflict=conflict) == [expected]

    @rule(event_id=spared)
    def cancel(self, event_id):
        assert self.store.cancel(event_id) is self.model.cancel(event_id)

    @rule(event_id=ids, queue=queues, limit=st.sampled_from([1, 1, 20]), lapses=st.booleans())
    def post_and_claim(self, event_id, queue, limit, lapses):
        self.post(event_id, PAST_MS, queue, limit, "replace")
        self.claim(QUEUES, 100, lapses, "first")

    @rule(event_id=ids, base_ms=bases)
    def change(self, event_id, base_ms):
        due_ms = base_ms + next(self.numbers)
        assert self.store.change(event_id, "at", due_ms) == self.model.change(event_id, due_ms)

    @rule(
        names=st.sampled_from([QUEUES, QUEUES[::-1], QUEUES[:1]]),
        room=st.sampled_from([100, 100, 2, 1, 0]),
        lapses=st.booleans(),
        listener=st.sampled_from(["first", "second"]),
    )
    def claim(self, names, room, lapses, listener):
        number = next(self.numbers)
        # Steps of a day, so that the order of the lapses does not hang on the clock.
        lease_ms = -300_000_000_000 + number * 86_400_000 if lapses else 3 * AGES_MS
        call = self.store.claim(names, listener=listener, holder="h", nonce=f"n{number}", room=room, lease_ms=lease_ms)
        claimed = self.store.read_claim(self.store.ask(call), names)
        expected, parked = self.model.claim(names, room)
        assert claimed.parked == parked
        assert [(d.id, d.payload, d.queue, d.due_ms, d.redeliveries, bool(d.token)) for d in claimed.deliveries] == [
            (i, e.payload, e.queue, e.due_ms, e.redeliveries, bool(e.limit)) for i, e in expected
        ]
        for delivery, (_, found) in zip(claimed.deliveries, expected, strict=True):
            assert not delivery.token or delivery.token not in {d.token for d in self.deliveries}
            assert found.key in {None, delivery.key}
            found.key, found.token = delivery.key, delivery.token
            if found.limit:
                found.lapse_ms = self.lapse_of(found)
        self.deliveries += claimed.deliveries

    @precondition(lambda self: self.deliveries)
    @rule(number=picks)
    def confirm(self, number):
        delivery = self.pick(number)
        found = self.model.held(delivery)
        assert self.store.ask(self.store.confirm(delivery.queue, [delivery])) == [int(found is not None)]
        if found:
            self.model.end(delivery.id, found)

    @precondition(lambda self: self.deliveries)
    @rule(number=picks)
    def renew(self, number):
        delivery = self.pick(number)
        found = self.model.held(delivery)
        call = self.store.renew(delivery.queue, 3 * AGES_MS, [delivery])
        assert self.store.ask(call) == [int(found is not None)]
        if found:
            found.lapse_ms = self.lapse_of(found)
            assert found.lapse_ms > BETWEEN_MS

    @precondition(lambda self: self.deliveries)
    @rule(number=picks, counted=st.booleans(), later=st.booleans())
    def release(self, number, counted, later):
        delivery = self.pick(number)
        backoff_ms = 3 * AGES_MS if later else -200_000_000_000 + next(self.numbers) * 86_400_000
        call = self.store.release(delivery.queue, [delivery], backoff_ms=backoff_ms, counted=counted, reason="why")
        found = self.model.held(delivery)
        if found is None:
            expected = 0
        elif found.redeliveries + counted > found.limit:
            expected = 2
        else:
            expected = 1
        assert self.store.ask(call) == [expected]
        if found:
            found.redeliveries += counted
            found.token = ""
        if expected == 1:
            found.lapse_ms = self.lapse_of(found)
        elif expected == 2:
            self.model.end(delivery.id, found, parked=True)

    @precondition(lambda self: self.deliveries)
    @rule(number=picks)
    def park(self, number):
        delivery = self.pick(number)
        found = self.model.held(delivery)
        assert self.store.ask(self.store.park(delivery.queue, [delivery], "why")) == [int(found is not None)]
        if found:
            self.model.end(delivery.id, found, parked=True)

    @rule(event_id=ids, later=st.booleans())
    def replay(self, event_id, later):
        reply = self.store.replay(event_id, 3 * AGES_MS if later else -AGES_MS // 10)
        assert (reply > BETWEEN_MS) == (later and reply > 0)
        assert self.model.replay(event_id, abs(reply)) == reply

    @invariant()
    def both_say_the_same_about_every_event(self):
        for event_id, live in self.model.live.items():
            info = self.store.peek(event_id)
            seen = info and (info.state, info.queue, info.payload, info.redeliveries, info.max_redeliveries)
            found = live[-1] if live else self.model.parked.get(event_id)
            state = ("pending" if found.waits else "leased") if live else "parked"
            assert seen == (found and (state, found.queue, found.payload, found.redeliveries, found.limit))

    @rule()
    def look_ahead(self):
        everything = [(e.due_ms, i, e) for queue in QUEUES for i, e in self.model.all(queue)]
        pending = [
            (i, e.queue)
            for _, i, e in sorted(everything, key=lambda row: (row[0], row[2].queue, row[1]))
            if e.key is None
        ]
        rows = self.store.upcoming(offset_ms=None, duration_ms=None, skip=0, limit=100, payloads=False)
        assert [(row.id, row.queue) for row in rows] == pending
        leased = len(everything) - len(pending)
        assert self.store.count() == Counts(len(pending), leased, len(self.model.parked))

    @invariant()
    def the_keys_agree_with_each_other(self):
        found = contents(self.client)
        events, leases = found.get("events", {}), found.get("leased", {})
        for event_id, record in events.items():
            if isinstance(record, str):
                assert record[1:] in leases
            else:
                assert event_id in found[f"due:{record[1]}"]
        assert sum(len(found.get(f"due:{queue}", ())) for queue in QUEUES) == sum(
            not isinstance(record, str) for record in events.values()
        )
        in_queues = [key for queue in QUEUES for key in found.get(f"lease:{queue}", ())]
        assert sorted(in_queues) == sorted(leases)
        for queue in QUEUES:
            instants = [*found.get(f"due:{queue}", {}).values(), *found.get(f"lease:{queue}", {}).values()]
            tokens = found.get(f"wake:{queue}", [])
            promised = found.get("promise", {}).get(queue)
            if not instants:
                assert promised is None
                assert tokens == []
                continue
            instant, _, listener = promised.partition(" ")
            # Somebody wakes up in time for the first, or is asked to.
            assert int(instant) <= min(instants)
            assert tokens == ["1"] or (tokens == [] and listener)

    def teardown(self):
        finish(self.store, self.client)
        left = snapshot(self.client)
        self.client.flushall()
        self.servers.close()
        assert left == {}


@pytest.mark.timeout(400)  # a failure takes its time to be made small
def test_the_store_does_what_its_model_does(redis_url, redis_client):
    class Here(Comparison):
        url = redis_url
        client = redis_client

    Here.TestCase.settings = settings(max_examples=70, stateful_step_count=40, deadline=None)
    case = Here.TestCase()
    case.runTest()
