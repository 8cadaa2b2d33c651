"""Every operation on the store, run on a real Redis and on a model of it, and every answer compared.

Few ids and two queues, so that the operations meet. Nothing waits: instants are long past or far ahead, and
leases are over when they are made, or last for years.
"""

import itertools
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from rig.keyspace import contents, finish, shown, snapshot
from seeds import FUTURE_MS, PAST_MS, event

from celery_dtimer.timer.connecting.steps import run
from celery_dtimer.timer.connecting.url import connect
from celery_dtimer.timer.events import Counts, State, Verdict
from celery_dtimer.timer.storing.keys import Keys
from celery_dtimer.timer.storing.limiting import limit_value
from celery_dtimer.timer.storing.shard import Store

QUEUES = ("one", "two")
KINDS = ("", "proj.a", "proj.b")  # what is posted is of each in turn
TAGS = ((), ("a",), ("a", "b"), ("b", "ab"))  # and has each of these in turn
BETWEEN_MS = 3_000_000_000_000  # what is due at all is due before
AGES_MS = 10**12  # some 30 years

# Uneven, so that the same ids and the latest deliveries are met again and again.
ids = st.sampled_from("xxxyyz")
spared = st.sampled_from("zzzzzyx")  # or cancels would end nearly everything
queues = st.sampled_from(QUEUES)
bases = st.sampled_from([PAST_MS, PAST_MS, PAST_MS, FUTURE_MS])
picks = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 5])
conditions = st.sampled_from(["none", "none", "right", "wrong"])


def said(answer):
    """What an answer says, as the model does."""
    instants = (answer.was_due_at and to_ms(answer.was_due_at), answer.due_at and to_ms(answer.due_at))
    return bool(answer), answer.state, *instants, answer.payload


def to_ms(instant):
    return round(instant.timestamp() * 1000)


class Incarnation:
    """One posted event of an id: pending, or leased by a token, or given back (an empty token)."""

    def __init__(self, queue, payload, limit, due_ms, kind="", tags=()):
        self.kind, self.tags = kind, tags
        self.aside = False  # a claim met it while its kind was held
        self.queue, self.payload, self.limit, self.due_ms = queue, payload, limit, due_ms
        self.key = self.token = None
        self.origin = b""  # the delivery whose retry posted it
        self.redeliveries = 0
        self.error = None  # of the last delivery that failed with one
        self.lapse_ms = None  # while it is leased
        self.ready_ms = None  # since it was given back

    @property
    def waits(self):
        return not self.token

    def move(self, due_ms):
        self.due_ms = due_ms
        self.aside = False
        if self.key is not None:
            self.ready_ms = due_ms

    @property
    def waits_until_ms(self):
        return self.due_ms if self.key is None else self.ready_ms


class Model:
    """Per id the incarnations that are not over, newest last, and what is parked."""

    def __init__(self):
        self.live = {"x": [], "y": [], "z": []}
        self.parked = {"x": [], "y": [], "z": []}
        self.held_queues = set()
        self.held_kinds = set()
        self.limit = ""  # "closed": nothing of what is long overdue is claimed, "open": all, behind what lapsed

    def post(self, event_id, new, conflict):
        top = self.live[event_id][-1] if self.live[event_id] else None
        if top is None or not top.waits:
            self.live[event_id].append(new)
        elif conflict == "replace":
            self.live[event_id][-1] = new
        elif conflict == "postpone":
            top.move(new.due_ms)
        else:
            due_ms = top.due_ms if top.key is None else top.ready_ms
            return due_ms if conflict == "keep" else -due_ms
        return new.due_ms

    def follow(self, event_id, new, origin):
        """A retry: it replaces what its own delivery posted, and stands beside what anybody else did."""
        live = self.live[event_id]
        new.origin = origin
        pending = live[-1] if live and live[-1].key is None else None
        if pending and pending.origin == origin:
            live[-1] = new
            return
        before = None
        key = origin + b"+"
        parked = {each.key for each in self.parked[event_id]}
        while key in parked or ((before := next((e for e in live if e.key == key), None)) and before.token):
            key += b"+"
        if before or pending:
            new.key, new.token, new.ready_ms = key, "", new.due_ms
            live[:] = [e for e in live if e is not before] + [new]
            live.sort(key=lambda each: each.key or b"\xff" * 300)
        else:
            live.append(new)

    def newest(self, event_id):
        """What an answer says of an id: its newest incarnation, its state, and its instant."""
        if self.live[event_id]:
            found = self.live[event_id][-1]
            return (found, State.PENDING, found.waits_until_ms) if found.waits else (found, State.LEASED, found.due_ms)
        if self.parked[event_id]:
            found = self.parked[event_id][-1]
            return found, State.PARKED, found.due_ms
        return None, None, None

    def cancel(self, event_id, if_due_ms):
        found, state, due_ms = self.newest(event_id)
        in_hands = state is State.LEASED and found.lapse_ms > BETWEEN_MS
        if found is None or in_hands or if_due_ms not in {None, due_ms}:
            return False, state, due_ms, due_ms, None
        if self.live[event_id]:
            self.live[event_id].clear()
        else:
            self.parked[event_id].pop()
        return True, state, due_ms, due_ms, found.payload

    def change(self, event_id, new_ms, if_due_ms):
        found, state, due_ms = self.newest(event_id)
        if state is not State.PENDING or if_due_ms not in {None, due_ms}:
            return False, state, due_ms, due_ms, None
        found.move(new_ms)
        return True, state, due_ms, new_ms, None

    def claim(self, names, room):
        """What is claimed, as (id, incarnation), and the ids that are parked."""
        claimed, parked = [], []
        names = [queue for queue in names if queue not in self.held_queues]
        # With a limit, what it does not hold back goes first, of all queues.
        for queue in names if self.limit else ():
            room -= self.claim_lapsed(queue, room, claimed, parked)
        for queue in names:
            if not self.limit:
                room -= self.claim_lapsed(queue, room, claimed, parked)
            if self.limit != "closed":
                room -= self.claim_due(queue, room, claimed)
        return claimed, parked

    def claim_lapsed(self, queue, room, claimed, parked):
        """Claim a queue's lapsed leases; returns how many."""
        before = len(claimed)
        again = [(e.lapse_ms, e.key, i, e) for i, e in self.all(queue) if e.token and e.lapse_ms < BETWEEN_MS]
        for _, _, event_id, found in sorted(again)[:room]:
            found.redeliveries += 1
            if found.redeliveries > found.limit:
                self.end(event_id, found, parked=True)
                parked.append(event_id)
            elif found.kind in self.held_kinds:
                found.token, found.ready_ms, found.aside = "", found.due_ms, True
            else:
                claimed.append((event_id, found))
        return len(claimed) - before

    def claim_due(self, queue, room, claimed):
        """Claim what is due of a queue, all of it overdue for long; returns how many."""
        before = len(claimed)
        due = [
            (e.waits_until_ms, e.key or i.encode(), i, e)
            for i, e in self.all(queue)
            if e.waits and e.waits_until_ms < BETWEEN_MS and not e.aside
        ]
        for _, _, event_id, found in sorted(due):
            if len(claimed) - before >= room:
                break
            if found.kind in self.held_kinds:
                found.aside = True
                continue
            claimed.append((event_id, found))
            if not found.limit:
                self.live[event_id].remove(found)
        return len(claimed) - before

    def all(self, queue):
        return [(i, e) for i, live in self.live.items() for e in live if e.queue == queue]

    def held(self, delivery):
        """The incarnation that is this delivery's still, or None."""
        found = (e for e in self.live[delivery.id] if delivery.token and e.token == delivery.token)
        return next(found, None)

    def end(self, event_id, found, *, parked=False):
        self.live[event_id].remove(found)
        if parked:
            # In the order of their first claims.
            self.parked[event_id] = sorted([*self.parked[event_id], found], key=lambda each: each.key)

    def replay(self, event_id, due_ms):
        if not self.parked[event_id] or self.live[event_id]:
            return -1 if not self.parked[event_id] else -2
        found = self.parked[event_id].pop()
        self.live[event_id].append(Incarnation(found.queue, found.payload, found.limit, due_ms, found.kind, found.tags))
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

    def ready_of(self, found):
        return int(self.client.zscore(f"{{dt:0}}:due:{found.queue}", found.key))

    def say(self, verdict):
        return self.store.ask(self.store.verdicts(verdict.delivery.queue, [verdict]))[0]

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
        kind = KINDS[number % 3]
        tags = TAGS[number % 4]
        new = event(event_id, due_ms, payload=payload, max_redeliveries=limit, queue=queue, kind=kind, tags=tags)
        expected = self.model.post(event_id, Incarnation(queue, payload, limit, due_ms, kind, tags), conflict)
        assert self.store.post([new], conflict=conflict) == [expected]

    @precondition(lambda self: [d for d in self.deliveries if d.token])
    @rule(number=picks, base_ms=bases, queue=queues, limit=st.sampled_from([1, 20]))
    def follow(self, number, base_ms, queue, limit):
        held = [d for d in self.deliveries if d.token]
        delivery, count = held[-1 - number % len(held)], next(self.numbers)
        payload, due_ms = b"%d" % count, base_ms + count
        new = event(delivery.id, due_ms, payload=payload, max_redeliveries=limit, queue=queue, tags=delivery.tags)
        again = Incarnation(queue, payload, limit, due_ms, tags=delivery.tags)
        self.model.follow(delivery.id, again, delivery.key)
        assert self.store.post([new], conflict="follow", origin=delivery.key) == [due_ms]

    def condition(self, event_id, kind):
        """An instant at which an id is due, or is not, or None."""
        due_ms = self.model.newest(event_id)[2] or PAST_MS
        return {"none": None, "right": due_ms, "wrong": due_ms + 1}[kind]

    @rule(event_id=spared, kind=conditions)
    def cancel(self, event_id, kind):
        if_due_ms = self.condition(event_id, kind)
        assert said(self.store.cancel(event_id, if_due_ms=if_due_ms)) == self.model.cancel(event_id, if_due_ms)

    @rule(event_id=ids, queue=queues, limit=st.sampled_from([1, 1, 20]), lapses=st.booleans())
    def post_and_claim(self, event_id, queue, limit, lapses):
        self.post(event_id, PAST_MS, queue, limit, "replace")
        self.claim(QUEUES, 100, lapses, "first")

    @rule(event_id=ids, base_ms=bases, kind=conditions)
    def change(self, event_id, base_ms, kind):
        due_ms, if_due_ms = base_ms + next(self.numbers), self.condition(event_id, kind)
        answer = self.store.change(event_id, "at", due_ms, if_due_ms=if_due_ms)
        assert said(answer) == self.model.change(event_id, due_ms, if_due_ms)

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
            if not found.limit:
                continue
            assert found.key in {None, delivery.key}
            found.key, found.token = delivery.key, delivery.token
            found.lapse_ms = self.lapse_of(found)
        self.deliveries += claimed.deliveries

    @precondition(lambda self: self.deliveries)
    @rule(number=picks)
    def confirm(self, number):
        delivery = self.pick(number)
        found = self.model.held(delivery)
        assert self.say(Verdict(delivery, "confirm")) == int(found is not None)
        if found:
            self.model.end(delivery.id, found)

    @precondition(lambda self: self.deliveries)
    @rule(number=picks)
    def renew(self, number):
        delivery = self.pick(number)
        found = self.model.held(delivery)
        assert self.say(Verdict(delivery, "renew", 3 * AGES_MS)) == int(found is not None)
        if found:
            found.lapse_ms = self.lapse_of(found)
            assert found.lapse_ms > BETWEEN_MS

    @precondition(lambda self: self.deliveries)
    @rule(number=picks, counted=st.booleans(), later=st.booleans(), fails=st.booleans())
    def release(self, number, counted, later, fails=False):
        delivery = self.pick(number)
        backoff_ms = 3 * AGES_MS if later else -200_000_000_000 + next(self.numbers) * 86_400_000
        found = self.model.held(delivery)
        if found is None:
            expected = 0
        elif found.redeliveries + counted > found.limit:
            expected = 2
        else:
            expected = 1
        error = f"ValueError: {next(self.numbers)}" if fails else ""
        assert self.say(Verdict(delivery, "release" if counted else "return", backoff_ms, "why", error)) == expected
        if found:
            found.error = error or found.error
            found.redeliveries += counted
            found.token = ""
        if expected == 1:
            found.ready_ms = self.ready_of(found)
        elif expected == 2:
            self.model.end(delivery.id, found, parked=True)

    @precondition(lambda self: self.deliveries)
    @rule(number=picks, fails=st.booleans())
    def park(self, number, fails=False):
        delivery = self.pick(number)
        found = self.model.held(delivery)
        error = f"ValueError: {next(self.numbers)}" if fails else ""
        assert self.say(Verdict(delivery, "park", 0, "why", error)) == int(found is not None)
        if found:
            found.error = error or found.error
            self.model.end(delivery.id, found, parked=True)

    @rule(event_id=ids, later=st.booleans())
    def replay(self, event_id, later):
        reply = self.store.replay(event_id, 3 * AGES_MS if later else -AGES_MS // 10)
        assert (reply > BETWEEN_MS) == (later and reply > 0)
        assert self.model.replay(event_id, abs(reply)) == reply

    @rule(event_id=ids)
    def drop(self, event_id):
        parked = self.model.parked[event_id]
        assert self.store.unpark("drop", [(event_id, 0)]) == [1 if parked else -1]
        del parked[-1:]

    @rule(event_id=ids)
    def drop_old(self, event_id):
        """Some of an id have been parked for ages, and only these go."""
        some = self.model.parked[event_id][::2]
        for found in some:
            self.client.zadd("{dt:0}:parked_at", {found.key: 1})
        assert self.store.ask(self.store.drop_old(AGES_MS)) == [found.queue.encode() for found in some]
        self.model.parked[event_id] = self.model.parked[event_id][1::2]

    @rule(later=st.booleans(), drops=st.booleans())
    def replay_or_drop_all(self, later, drops):
        """As replay_many and drop_many do it: the newest first."""
        page = list(self.store.parked(None, limit=100, kind=b"", reason="", prefix=""))
        delay_ms = 3 * AGES_MS if later else -AGES_MS // 10
        names = [(here.key, delay_ms) for here, _ in page]
        replies = self.store.unpark("drop" if drops else "replay", names) if page else []
        for (here, row), reply in zip(page, replies, strict=True):
            found = next(each for each in self.model.parked[row.id] if each.key == here.key)
            if drops:
                assert reply == 1
            elif self.model.live[row.id]:
                assert reply == -2
                continue
            self.model.parked[row.id].remove(found)
            if not drops:
                assert (reply > BETWEEN_MS) == later
                again = Incarnation(found.queue, found.payload, found.limit, reply, found.kind, found.tags)
                self.model.live[row.id].append(again)

    @rule(queue=queues, holds=st.booleans())
    def hold(self, queue, holds):
        (self.store.hold if holds else self.store.resume)(queue)
        (self.model.held_queues.add if holds else self.model.held_queues.discard)(queue)

    @rule(kind=st.sampled_from(KINDS[1:]), holds=st.booleans())
    def hold_kind(self, kind, holds):
        if holds:
            assert self.store.hold_kind(kind)
            self.model.held_kinds.add(kind)
            return
        self.store.resume_kind(kind)
        self.model.held_kinds.discard(kind)
        for queue in QUEUES:
            for _, found in self.model.all(queue):
                found.aside = found.aside and found.kind != kind

    @rule(limit=st.sampled_from(["", "", "open", "closed"]))
    def limit(self, limit):
        """A catch-up limit whose bucket stays empty, or is never empty; all that is due at all is long overdue."""
        bucket = "{dt:0}:bucket"
        self.client.delete(bucket)
        value = {"": "", "open": limit_value(1e6, 1), "closed": limit_value(0.001, 1)}[limit]
        assert self.store.limit(value, "me", "why") == bool(self.model.limit)
        if limit == "open":
            self.client.set(bucket, "0.000 1 0")
        self.model.limit = limit

    @rule(kind=st.sampled_from(KINDS[1:]))
    def resume_halfway(self, kind):
        """What is set aside stays so, until a resume goes on, or is claimed by nobody if it is held again."""
        was_held = self.client.hexists("{dt:0}:holds", f"kind {kind}")
        assert self.store.ask(self.store.call("hold", [], "resume_kind", kind, 0, "", "")) == was_held
        self.model.held_kinds.discard(kind)

    @invariant()
    def both_say_the_same_about_every_event(self):
        for event_id, live in self.model.live.items():
            info = self.store.peek(event_id)
            seen = info and (info.state, info.queue, info.payload, info.redeliveries, info.max_redeliveries)
            found = live[-1] if live else next(reversed(self.model.parked[event_id]), None)
            state = ("pending" if found.waits else "leased") if live else "parked"
            assert seen == (found and (state, found.queue, found.payload, found.redeliveries, found.limit))

    @invariant()
    def the_index_has_the_tags_of_all_that_is_there(self):
        there = [(i, e) for of in (self.model.live, self.model.parked) for i, several in of.items() for e in several]
        expected = {f"{tag}|{event_id}" for event_id, each in there for tag in each.tags}
        members = self.client.zrange("{dt:0}:tags", 0, -1)
        assert {shown(member) for member in members} == expected

    @rule()
    def look_ahead(self):
        everything = [(i, e) for queue in QUEUES for i, e in self.model.all(queue)]
        waiting = sorted((e.waits_until_ms, e.queue, e.key or i.encode(), i) for i, e in everything if e.waits)
        rows = run(
            self.store.upcoming_steps(QUEUES, offset_ms=None, duration_ms=None, skip=0, limit=100, payloads=False)
        )
        assert [(row.id, row.queue) for row in rows] == [(i, queue) for _, queue, _, i in waiting]
        parked = sum(map(len, self.model.parked.values()))
        page = list(self.store.parked(None, limit=100, kind=b"", reason="", prefix=""))
        in_model = [(e.key, i, e.kind, e.error) for i, several in self.model.parked.items() for e in several]
        of_store = [(here.key, row.id, row.kind or "", row.error) for here, row in page]
        assert sorted(of_store, key=str) == sorted(in_model, key=str)
        for event_id, several in self.model.parked.items():
            rows = self.store.parked(None, limit=100, kind=b"", reason="", prefix="", event_id=event_id)
            assert [here.key for here, _ in rows] == [each.key for each in reversed(several)]
        position, again = None, []
        while one := list(self.store.parked(position, limit=1, kind=b"", reason="", prefix="")):
            again += one
            position = one[0][0]
        assert again == page
        assert run(self.store.count_steps()) == Counts(len(waiting), len(everything) - len(waiting), parked)

    @invariant()
    def the_keys_agree_with_each_other(self):
        found = contents(self.client)
        events, leases, parked = (found.get(name, {}) for name in ("events", "leased", "parked"))
        waiting = {member for queue in QUEUES for member in found.get(f"due:{queue}", ())}
        held = {key for queue in QUEUES for key in found.get(f"lease:{queue}", ())}
        given_back = {key for key, record in leases.items() if not record[0]}
        assert waiting == set(events) | given_back
        assert held == set(leases) - given_back
        assert set(found.get("deliveries", ())) == set(leases)
        assert set(found.get("parked_at", ())) == set(found.get("parked_ids", ())) == set(parked)
        assert set(found.get("taken", ())) == set(leases) | set(parked)
        assert not set(leases) & set(parked)
        assert "damaged" not in found
        for queue in QUEUES:
            instants = [*found.get(f"due:{queue}", {}).values(), *found.get(f"lease:{queue}", {}).values()]
            tokens = found.get(f"wake:{queue}", [])
            promised = found.get("promise", {}).get(queue)
            if not instants:
                assert promised is None
                assert tokens == []
                continue
            instant, _, listener = promised.partition(" ")
            if queue in self.model.held_queues and listener == "held":
                assert tokens == []
                continue
            # Somebody wakes up in time for the first, or is asked to; with a limit, for the next token.
            earliest = time.time() * 1000 + 2_000_000 if self.model.limit == "closed" else 0
            assert int(instant) <= max(earliest, min(instants))
            assert tokens == ["1"] or (tokens == [] and listener)

    def teardown(self):
        finish(self.store, self.client)
        left = snapshot(self.client)
        self.client.flushall()
        self.servers.close()
        assert left == {}


@pytest.mark.timeout(400)  # a failure takes its time to be made small
@pytest.mark.parametrize("examples", [25, pytest.param(100, marks=pytest.mark.slow)])
def test_the_store_does_what_its_model_does(redis_url, redis_client, examples):
    class Here(Comparison):
        url = redis_url
        client = redis_client

    Here.TestCase.settings = settings(max_examples=examples, stateful_step_count=40, deadline=None)
    case = Here.TestCase()
    case.runTest()
