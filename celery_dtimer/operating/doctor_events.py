"""The doctor's checks of what the timer holds."""

from collections.abc import Iterator
from typing import Any

from celery_dtimer.operating.backlog import limit_in_force, read_backlog
from celery_dtimer.operating.doctor_kinds import Found, Subject
from celery_dtimer.operating.printing import counted, span
from celery_dtimer.operating.workers import connected
from celery_dtimer.timer.storing.claims import id_of
from celery_dtimer.timer.storing.shard import Store

#: Milliseconds that an event may be overdue, and a lease lapsed, in good health.
OVERDUE_MS, LAPSED_MS = 10_000, 5_000

#: Share of a lease that a living worker never lets come: it renews before.
NEAR = 0.1

#: Leases a queue, and records a shard, that are looked at.
SAMPLE = 100

#: Bytes of a stored message from which on it is big.
BIG = 100 * 1024


def _ask(store: Store, *command: Any) -> Any:
    reply = store.server.send([command])[0]
    if isinstance(reply, Exception):
        raise reply
    return reply


def _now_ms(store: Store) -> int:
    seconds, micros = _ask(store, "TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def _queues(subject: Subject) -> Iterator[tuple[Store, str]]:
    for store in subject.extension.shards:
        for portion in store.queues("doctor"):
            for queue in portion:
                yield store, queue


def overdue(subject: Subject) -> Iterator[Found]:
    """Whether somebody claims what is due."""
    held = {hold.name for hold in subject.extension.shards.holds() if hold.what == "queue"}
    reports = subject.reports
    namespace = subject.extension.settings.namespace
    fired = None
    if reports is not None:
        ours = [report for report in reports.values() if report.get("namespace") == namespace]
        fired = {queue for report in ours for queue in report["queues"]}
    limit = limit_in_force(subject.extension)
    for store, queue in _queues(subject):
        if queue in held:
            continue
        now_ms = _now_ms(store)
        reply = _ask(store, "ZCOUNT", store.keys.due(queue), "-inf", now_ms - OVERDUE_MS)
        if not reply:
            continue
        text = f"queue {queue} has {counted(reply, 'event')} overdue by more than {OVERDUE_MS // 1000} s"
        if fired is not None and queue not in fired:
            yield "nobody-listens", f"{text}, and no worker that answers fires for it"
            continue
        if limit.rate is not None:
            # What is overdue by more is held back: see catching_up.
            since_ms = now_ms - round(limit.after * 1000)
            if not _ask(store, "ZCOUNT", store.keys.due(queue), since_ms, now_ms - OVERDUE_MS):
                continue
        yield "overdue", text
        if _ask(store, "LLEN", store.keys.wake(queue)):
            yield "wake-token-stuck", f"{text}, and nobody takes its wake token"


def catching_up(subject: Subject) -> Iterator[Found]:
    """Whether a limit holds back what is overdue, and for how long."""
    backlog = read_backlog(subject.extension)
    if backlog.seconds:
        claimed = f"at most {backlog.limit.rate:g} a second are claimed: {span(backlog.seconds)}"
        late = f"{counted(backlog.overdue, 'event', 'are')} overdue by more than {backlog.limit.after:g} s"
        yield "catching-up", f"{late}, and {claimed}"


def leases(subject: Subject) -> Iterator[Found]:
    """Whether those who hold events live."""
    near_ms = round(subject.extension.settings.confirm_timeout * 1000 * NEAR)
    for store, queue in _queues(subject):
        key, now_ms = store.keys.lease(queue), _now_ms(store)
        lapsed = _ask(store, "ZCOUNT", key, "-inf", now_ms - LAPSED_MS)
        if lapsed:
            yield (
                "lease-lapsed",
                f"queue {queue} has {counted(lapsed, 'lapsed lease')}, and nobody claims them",
            )
        near = _ask(store, "ZCOUNT", key, now_ms - LAPSED_MS, now_ms + near_ms)
        if near:
            yield "lease-near-lapse", f"queue {queue} has {counted(near, 'lease')} about to lapse"


def holders(subject: Subject) -> Iterator[Found]:
    """Whether the workers that hold events answer, or have made a round lately: one that runs a task may be silent."""
    workers = set(subject.workers) | connected(subject.extension)
    for store, queue in _queues(subject):
        gone: dict[str, int] = {}
        for member in _ask(store, "ZRANGE", store.keys.lease(queue), 0, SAMPLE - 1):
            info = store.peek(id_of(member)[0])
            if info is not None and info.holder and info.holder not in workers:
                gone[info.holder] = gone.get(info.holder, 0) + 1
        for holder, count in sorted(gone.items()):
            yield "holder-gone", f"{holder} holds {counted(count, 'event')} of queue {queue}, and does not answer"


def kept_aside(subject: Subject) -> Iterator[Found]:
    """Whether there is anything that does not run."""
    counts = subject.extension.shards.count()
    if counts.parked:
        yield "parked", f"{counted(counts.parked, 'event', 'are')} parked"
    if counts.damaged:
        yield "damaged", f"{counted(counts.damaged, 'record')} can't be read"


def payloads(subject: Subject) -> Iterator[Found]:
    """Whether a sample of the stored messages has big ones."""
    for store in subject.extension.shards:
        key = store.keys.events
        sample = _ask(store, "HRANDFIELD", key, SAMPLE) or []
        sizes = [_ask(store, "HSTRLEN", key, member) for member in sample]
        if sizes and max(sizes) > BIG:
            text = id_of(sample[sizes.index(max(sizes))])[0]
            yield "big-payload", f"event {text} has {max(sizes)} bytes, the most of {len(sizes)} in {key}"


CHECKS = (overdue, catching_up, leases, holders, kept_aside, payloads)
