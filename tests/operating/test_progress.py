"""The progress of commands that take many events: told batch by batch, and shown on a terminal alone."""

import io
import sys

import pytest
from celery.bin.base import CLIContext

from celery_dtimer import DTimer, get_timer
from celery_dtimer.operating.progress import progress
from celery_dtimer.timer.posts import Post
from celery_dtimer.timer.storing.progress import tell, telling


class Context:
    """As much of a command's context as a bar asks for."""

    obj = CLIContext(app=True, no_color=True, workdir=".")


@pytest.fixture
def stderr(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    return stream


@pytest.mark.parametrize(("is_terminal", "as_json"), [(True, False), (True, True), (False, False)])
def test_a_bar_is_on_a_terminal_and_not_with_json_or_in_a_pipe(stderr, monkeypatch, is_terminal, as_json):
    stderr.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stderr", stderr)
    with progress(Context, "things [red]", 7, as_json=as_json):
        tell(3)
        tell(4)
    assert ("7/7" in stderr.getvalue()) == ("things [red]" in stderr.getvalue()) == (is_terminal and not as_json)


def test_a_bar_that_is_interrupted_leaves_the_terminal_as_it_was(stderr, monkeypatch):
    stderr.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stderr)
    with pytest.raises(KeyboardInterrupt), progress(Context, "things", None, as_json=False):
        raise KeyboardInterrupt
    assert stderr.getvalue().rindex("\x1b[?25h") > stderr.getvalue().rindex("\x1b[?25l")
    tell(1)  # nobody listens any more


def test_the_loops_over_many_events_tell_how_far_they_are(redis_url):
    ids = [str(number) for number in range(250)]
    told = []
    with DTimer(redis_url) as timer, telling(told.append):
        timer.post_many([Post(b"", 60, id=each) for each in ids])
        assert told == [250]
        told.clear()
        timer.change_many(ids, 70)
        assert told == [100, 100, 50]
        told.clear()
        timer.cancel_many(ids)
        assert told == [100, 100, 50]
        told.clear()
        timer.replay_many(ids)
        assert told == [250]


def test_adopt_tells_of_each_message(quick, worker_app):
    worker_app.module.note.apply_async(countdown=3600)
    told = []
    with telling(told.append):
        assert quick("adopt", "--json").exit_code == 0
    assert told == [1]
    timer = get_timer(worker_app.app)
    [event] = timer.upcoming()
    timer.cancel(event.id)
