"""Every change: asked for once, made, answered, and written down with who made it."""

import logging
from datetime import UTC, datetime

import pytest
from browser import hidden, text_of

from celery_dtimer import State
from celery_dtimer.web import searching


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO, "celery_dtimer")


def test_a_cancel_is_asked_for_made_and_written_down(writer, remind, caplog):
    result = remind.post((), delay=600)
    asked = writer.get("/act", params={"do": "cancel", "id": result.id, "due": result.peek().due_at.isoformat()})
    assert "Cancel 1 event?" in text_of(asked.text)
    assert result.peek() is not None
    done = writer.post("/act", hidden(asked.text))
    assert "1 event is cancelled" in text_of(done.text)
    assert result.peek() is None
    again = writer.post("/act", hidden(asked.text))
    assert "Nothing was changed" in text_of(again.text)
    assert "is unknown: it has run, was cancelled, or was never posted" in text_of(again.text)
    lines = [record.getMessage() for record in caplog.records if "asked to" in record.getMessage()]
    assert lines == [
        f"dtimer: web: mia asked to cancel: 1 cancelled, 0 not ({result.id})",
        f"dtimer: web: mia asked to cancel: 0 cancelled, 1 not ({result.id})",
    ]


def test_a_change_that_was_asked_for_an_older_time_changes_nothing(writer, remind):
    result = remind.post((), delay=600)
    fields = {"do": "cancel", "id": result.id, "due": result.peek().due_at.isoformat()}
    result.change_delay(700)
    assert "and not when it was shown; nothing was changed" in text_of(writer.confirm(fields).text)
    assert result.peek() is not None


def test_move_and_run_now(writer, remind):
    result = remind.post((), delay=600)
    done = writer.confirm({"do": "move", "id": result.id}, eta="2100-01-02T03:04:05")
    assert "Due 2100-01-02 03:04:05 UTC" in text_of(done.text)
    assert result.peek().due_at == datetime(2100, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert "1 event is moved" in text_of(writer.confirm({"do": "move", "id": result.id}, delay="90").text)
    assert "1 event is due now" in text_of(writer.confirm({"do": "run-now", "id": result.id}).text)
    assert result.peek().due_at <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("fields", "typed", "said"),
    [
        ({"do": "move"}, {}, "give a delay or an instant, and not both"),
        ({"do": "move"}, {"delay": "1", "eta": "2100-01-01T00:00"}, "give a delay or an instant, and not both"),
        ({"do": "move"}, {"delay": "soon"}, "delay must be a number, got 'soon'"),
        ({"do": "move"}, {"delay": "nan"}, "delay must be a finite number"),
        ({"do": "move"}, {"eta": "tomorrow"}, "eta must be a datetime"),
        ({"do": "run-now"}, {"due": "then"}, "due must be a datetime"),
    ],
)
def test_a_wrong_field_changes_nothing(writer, remind, fields, typed, said):
    result = remind.post((), delay=600)
    before = result.peek()
    answer = writer.confirm({**fields, "id": result.id}, **typed)
    assert answer.status_code == 400
    assert said in text_of(answer.text)
    assert result.peek() == before


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"do": "burn"}, "do must be one of cancel, move"),
        ({"do": "cancel"}, "choose one event or more first"),
        ({"do": "cancel", "id": "x" * 201}, "id must be a string"),
        ({"do": "hold", "what": "queue", "name": ""}, "queue must be a string"),
        ({"do": "hold", "what": "all", "name": "x"}, "what must be queue or task, got 'all'"),
        ({"do": "cancel", "all": "1", "from": "x"}, "from must be"),
        (
            {"do": "drop", "all": "1", "state": "parked", "queue": "q"},
            "parked events are chosen by tag, task and reason",
        ),
    ],
)
def test_what_can_not_be_done_is_said_before_it_is_asked(writer, fields, said):
    answer = writer.post("/act", fields)
    assert answer.status_code == 400
    assert said in text_of(answer.text)


def test_chosen_events_are_changed_together_with_each_refusal_named(writer, remind, lease):
    waiting = [remind.post((), delay=600) for _ in range(3)]
    held = remind.post((), delay=0)
    lease()
    ids = [*(result.id for result in waiting), held.id, "unknown"]
    asked = writer.post("/act", {"do": "cancel", "id": ids})
    assert "Cancel 5 events?" in text_of(asked.text)
    said = text_of(writer.post("/act", hidden(asked.text)).text)
    assert "3 events are cancelled" in said
    assert f"{held.id} is in the hands of amber@shop since" in said
    assert "unknown is unknown" in said
    assert held.peek().state is State.LEASED


def test_all_that_match_are_counted_first(writer, remind, app, timer, monkeypatch):
    for number in range(7):
        remind.post((), delay=600 + number, queue="mail")
    other = app.tasks["shop.report"].post((), delay=600, queue="mail")
    asked = writer.post("/act", {"do": "cancel", "all": "1", "task": "shop.remind"})
    assert "Cancel 7 events?" in text_of(asked.text)
    assert timer.count().pending == 8
    monkeypatch.setattr(searching, "MOST_CHANGED", 3)
    asked = writer.post("/act", {"do": "cancel", "all": "1", "task": "shop.remind"})
    assert "More may match:" in text_of(asked.text)
    said = text_of(writer.post("/act", hidden(asked.text)).text)
    assert "3 events are cancelled" in said
    assert "More may match." in said
    monkeypatch.undo()
    assert "5 events are due now" in text_of(writer.confirm({"do": "run-now", "all": "1", "queue": "mail"}).text)
    assert other.peek().due_at <= datetime.now(UTC)
    assert "Nothing matches" in text_of(writer.post("/act", {"do": "cancel", "all": "1", "queue": "none"}).text)


def test_all_of_a_tag_are_changed(writer, remind, park, timer):
    for number in range(4):
        remind.post((), delay=600 + number, tags=["customer:7"] if number else None)
    assert "3 events are cancelled" in text_of(writer.confirm({"do": "cancel", "all": "1", "tag": "customer:7"}).text)
    assert timer.count().pending == 1
    park(remind.post((), delay=0, tags=["customer:7"]))
    asked = writer.post("/act", {"do": "replay", "all": "1", "state": "parked", "tag": "customer:7"})
    assert "Replay 1 event?" in text_of(asked.text)
    assert "1 event is dropped" in text_of(
        writer.confirm({"do": "drop", "all": "1", "state": "parked", "tag": "customer:7"}).text
    )


def test_replay_and_drop_of_what_is_parked(writer, remind, park, timer):
    results = [remind.post((), delay=0) for _ in range(4)]
    park(results[0])
    asked = writer.post("/act", {"do": "replay", "all": "1", "state": "parked", "reason": "gateway"})
    assert "Replay 4 events?" in text_of(asked.text)
    assert timer.count().parked == 4
    done = writer.confirm({"do": "replay", "id": results[0].id, "state": "parked"})
    assert "1 event is pending again" in text_of(done.text)
    done = writer.confirm({"do": "drop", "id": [results[0].id, results[1].id], "state": "parked"})
    assert f"1 event is dropped 1 not {results[0].id} is not parked" in text_of(done.text)
    done = writer.confirm({"do": "replay", "all": "1", "state": "parked", "task": "shop.remind"}, rate="10")
    assert "2 events are pending again" in text_of(done.text)
    assert (timer.count().pending, timer.count().parked) == (3, 0)


@pytest.mark.parametrize(("what", "name"), [("queue", "<q>"), ("task", "shop.remind")])
def test_hold_and_resume(writer, timer, what, name, remind):
    asked = writer.get("/act", params={"do": "hold", "what": what, "name": name, "why": "the <i>gateway</i> is down"})
    assert f"Hold {what} {name}?" in text_of(asked.text)
    done = writer.post("/act", {**hidden(asked.text), "why": "the <i>gateway</i> is down"})
    assert f"{what} {name} is held" in text_of(done.text)
    [hold] = timer.holds()
    assert (hold.by, hold.why) == ("mia", "the <i>gateway</i> is down")
    page = writer.get("/holds").text
    assert "the <i>gateway</i> is down" in text_of(page)
    assert "<i>" not in page
    assert f"{what.capitalize()} {name} is held since" in text_of(writer.get("/").text)
    assert f"{what} {name} is resumed" in text_of(writer.confirm({"do": "resume", "what": what, "name": name}).text)
    assert timer.holds() == []
    said = text_of(writer.confirm({"do": "resume", "what": what, "name": name}).text)
    assert "Nothing was changed" in said
    assert "was not held" in said


def test_the_catch_up_limit_is_shown_set_and_ended(writer, timer, remind):
    assert "None: after an outage" in text_of(writer.get("/holds").text)
    remind.post((), eta=datetime(2026, 1, 1, tzinfo=UTC))
    done = writer.confirm({"do": "catch-up"}, rate="0.5", why="the <i>database</i>")
    assert "the catch-up limit is set" in text_of(done.text)
    assert (timer.catch_up_limit().rate, timer.catch_up_limit().by) == (0.5, "mia")
    said = text_of(writer.get("/holds").text)
    assert "At most 0.5 a second of what is overdue by more than 10 s" in said
    assert "the <i>database</i>" in said
    said = text_of(writer.get("/").text)
    assert "Catch-up limit : at most 0.5 a second of 1 long overdue; 2 s at that rate; since" in said
    assert "by mia: the <i>database</i>" in said
    assert writer.confirm({"do": "catch-up"}, rate="fast").status_code == 400
    assert writer.confirm({"do": "catch-up"}, rate="-1").status_code == 400
    assert "the catch-up limit is ended" in text_of(writer.confirm({"do": "catch-up-default"}).text)
    assert timer.catch_up_limit() is None
    assert "was not stored" in text_of(writer.confirm({"do": "catch-up-default"}).text)


def test_a_page_leads_back_within_the_console_only(writer, remind):
    result = remind.post((), delay=600)
    fields = {"do": "cancel", "id": result.id}
    for there in ("//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/a\nb"):
        assert 'href="/events">Leave' in writer.post("/act", {**fields, "next": there}).text
    assert 'href="/events?queue=a">Leave' in writer.post("/act", {**fields, "next": "/events?queue=a"}).text
