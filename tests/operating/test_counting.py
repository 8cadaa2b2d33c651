"""``dtimer stats`` and ``dtimer forecast``: what is counted, and how it is shown."""

import json
from datetime import UTC, datetime

import pytest

from celery_dtimer import get_timer
from celery_dtimer.operating.counting import _bar, _histogram, _stats
from celery_dtimer.operating.gauges import Gauges, QueueGauges
from celery_dtimer.operating.printing import WIDTH, columns

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_stats_count_by_queue_and_state(quick, note):
    note.post_in(3600)
    note.post((1,), delay=7200, queue="celery")
    note.post((1,), eta=datetime(2026, 1, 1, tzinfo=UTC))
    header, queue, total, parked, oldest = quick("stats").output.splitlines()
    assert header.split() == ["PENDING", "DUE", "OVERDUE", "LEASED", "QUEUE"]
    assert queue.split() == ["3", "1", "1", "0", "celery"]
    assert total.split() == ["3", "1", "1", "0", "total"]
    assert parked == "0 parked, 0 can't be read, 0 holds"
    assert oldest.startswith("the oldest overdue task has been due for ")
    told = json.loads(quick("stats", "--json").output)
    assert told["queues"]["celery"]["overdue"] == 1
    assert told["oldest_overdue"] > 86_400


def test_stats_of_an_empty_timer_are_zeros(quick, worker_app):
    assert quick("stats").output.splitlines()[1:] == [
        "          0            0            0            0  total",
        "0 parked, 0 can't be read, 0 holds",
    ]


def test_stats_name_what_is_leased_and_what_is_held(quick, leased):
    quick("hold", "-Q", "celery")
    try:
        rows = quick("stats").output.splitlines()
    finally:
        quick("resume", "-Q", "celery")
    assert rows[1].split() == ["0", "0", "0", "1", "celery", "(held)"]
    assert rows[-1] == "0 parked, 0 can't be read, 1 hold"


def test_stats_fit_the_terminal_whatever_a_queue_is_called():
    name = "\x1b[31m\n" + "字" * 100
    gauges = Gauges({name: QueueGauges(10**9, 10**9, 10**9, leased=10**9, held=1)}, 1, 0, 0, 90.0)
    lines = list(_stats(gauges))
    assert max(map(columns, lines)) <= WIDTH
    assert r"\x1b[31m\n字" in lines[1]
    assert lines[-1] == "the oldest overdue task has been due for 1 m"


def test_a_forecast_counts_the_coming_intervals(quick, note):
    for delay in (30, 90, 90, 3700):
        note.post_in(delay)
    note.post((1,), eta=datetime(2026, 1, 1, tzinfo=UTC))
    told = json.loads(quick("forecast", "--json").output)
    assert told["queues"] == {"celery": [1, 2, *[0] * 18]}
    assert (told["step"], told["due"]) == (60, 1)
    assert json.loads(quick("forecast", "--by", "hour", "-n", "2", "--json").output)["queues"] == {"celery": [3, 1]}
    header, first, second, *_, queue, total, due = quick("forecast").output.splitlines()
    assert header.split() == ["FROM", "(UTC)", "TASKS"]
    assert first.split()[2:] == ["1", "A" * 24]
    assert second.split()[2:] == ["2", "A" * 48]
    assert queue.split() == ["A", "3", "celery"]
    assert total == "3 in 20 intervals of 1 m"
    assert due == "1 are due already, and are not counted here"


def test_a_forecast_of_named_queues_shows_only_these(quick, note):
    note.post_in(30)
    shown = json.loads(quick("forecast", "-Q", "celery", "-Q", "nothing", "-n", "1", "--json").output)["queues"]
    assert shown == {"celery": [1], "nothing": [0]}
    assert json.loads(quick("forecast", "-Q", "nothing", "-n", "1", "--json").output)["queues"] == {"nothing": [0]}


def test_a_forecast_of_an_empty_timer_has_no_bars(quick, worker_app):
    lines = quick("forecast", "-n", "2").output.splitlines()
    assert lines[1].split()[2:] == ["0"]
    assert lines[-2:] == ["0 in 2 intervals of 1 m", "0 are due already, and are not counted here"]


def test_a_bar_has_a_letter_a_queue_in_proportion():
    assert _bar([("A", 6), ("B", 3), ("C", 1)], 10, 20) == "A" * 12 + "B" * 6 + "CC"
    assert _bar([("A", 0), ("B", 1)], 10**6, 20) == "B"
    assert _bar([("A", 0)], 10, 20) == ""
    assert _bar([("A", 0)], 0, 20) == ""
    assert len(_bar([(letter, 1) for letter in "ABCDEFG"], 7, 20)) == 20


def test_a_forecast_fits_the_terminal_whatever_there_is():
    counts = {f"\x1b[31m{'字' * 100}{number}": [10**9, number, 0] for number in range(30)}
    lines = list(_histogram(NOON, 60, counts, 3))
    assert max(map(columns, lines)) <= WIDTH
    assert all(line.isprintable() for line in lines)
    assert lines[1].startswith("2026-11-22 12:00:00  30000000000  ")
    assert lines[2].startswith("2026-11-22 12:01:00")
    assert sum(line.startswith("+") for line in lines) == 10


@pytest.mark.parametrize(
    "arguments", [["-n", "0"], ["-n", "1001"], ["-n", "x"], ["--by", "year"], ["surplus"], ["--step", "1"]]
)
def test_bad_intervals_are_refused(quick, worker_app, arguments):
    refused = quick("forecast", *arguments)
    assert refused.exit_code == 2
    assert "Traceback" not in refused.output


def test_what_is_parked_makes_no_queue_look_held(quick, note, leased):
    note.post_in(3600)
    store = get_timer(leased.app).shards[0]
    note.post((1,), delay=0, task_id="to be parked")
    call = store.claim(["celery"], listener="l", holder="h", nonce="m", room=1, lease_ms=60_000, ahead_ms=1000)
    store.ask(store.park("celery", store.read_claim(store.ask(call), ["celery"]).deliveries, "why"))
    rows = quick("stats").output.splitlines()
    get_timer(leased.app).drop("to be parked")
    assert rows[1].split() == ["1", "0", "0", "1", "celery"]
    assert rows[-1] == "1 parked, 0 can't be read, 0 holds"
