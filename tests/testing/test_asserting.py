"""What a test asks about the tasks that wait, and what it is told if they are other ones."""

from datetime import datetime, timedelta

import pytest


def test_pending_tasks_have_the_arguments_that_they_will_be_called_with(dtimer, note, app):
    note.post(([1, (2,)],), delay=120, tags=["t"])
    note.post(kwargs={"what": "b"}, delay=60)
    first, second = dtimer.pending()
    assert (first.task, first.args, first.kwargs, first.due_in) == ("note", (), {"what": "b"}, timedelta(minutes=1))
    assert (second.args, second.tags, second.queue) == (([1, [2]],), ("t",), app.conf.task_default_queue)
    assert dtimer.pending(note, args=([1, (2,)],)) == [second]
    assert dtimer.pending(kwargs={"what": "b"}) == [first]
    assert dtimer.pending(tag="t") == [second]
    assert dtimer.pending("other") == dtimer.pending(queue="other") == []


def test_pickled_arguments_are_compared_as_they_are(app, dtimer):
    app.conf.update(task_serializer="pickle", accept_content=["pickle"])

    @app.task(name="pickled")
    def pickled(what):
        return isinstance(what, set)

    result = pickled.post_in(60, {1, 2})
    dtimer.assert_posted("pickled", args=({2, 1},))
    dtimer.advance(60)
    assert result.state == "SUCCESS"


def test_assert_posted_returns_the_soonest_that_is_so(dtimer, note):
    later, soon = note.post_in(120, "a"), note.post_in(60, "a")
    assert dtimer.assert_posted(note).id == soon.id
    assert dtimer.assert_posted("note", args=["a"], in_=timedelta(minutes=2)).id == later.id
    assert dtimer.assert_posted(note, at=dtimer.now + timedelta(seconds=119.5)).id == later.id


def test_a_failed_assertion_shows_what_waits(dtimer, note):
    with pytest.raises(AssertionError, match=r"^note does not wait\. Pending at [\d :-]+ UTC: nothing$"):
        dtimer.assert_posted(note)
    note.post(("a",), {}, delay=60, tags=["t"])
    for options, text in (
        ({"args": ["b"]}, r"note\('b'\) does not wait"),
        ({"in_": 62}, r"note does not wait in 0:01:02, at [\d :-]+ UTC"),
        ({"in_": 60.1, "within": 0.05}, "note does not wait in 0:01:00.1"),
    ):
        with pytest.raises(AssertionError, match=rf"^{text}.*\n  note\('a'\) in 0:01:00, at [\d :-]+ UTC, tags t$"):
            dtimer.assert_posted(note, **options)
    with pytest.raises(AssertionError, match=r"note\('a'\) waits\. Pending"):
        dtimer.assert_not_posted(note, args=["a"])
    dtimer.assert_not_posted(note, args=["b"])
    with pytest.raises(ValueError, match="at must be an aware datetime"):
        dtimer.assert_posted(note, at=datetime(2035, 1, 1))  # noqa: DTZ001 - a naive one is refused
