"""``dtimer post``: a task is posted from the shell, or one error says why not."""

import json

import pytest


def test_a_task_is_posted_with_its_arguments(quick, note):
    done = quick("post", "proj.note", "--delay", "3600", "--args", '[1, "two"]', "--kwargs", '{"three": 3}')
    assert done.exit_code == 0, done.output
    task_id, _, due_at = done.output.strip().partition(" is due at ")
    info = note.AsyncResult(task_id).peek()
    assert (info.task, info.args, info.kwargs) == ("proj.note", "(1, 'two')", "{'three': 3}")
    assert info.due_at.isoformat() == due_at


def test_a_task_is_posted_at_an_instant_under_an_id_of_ones_own(quick, note):
    arguments = ["post", "proj.note", "--eta", "2100-01-01T12:00:00+02:00", "--id", "mine", "-Q", "celery", "--json"]
    done = quick(*arguments)
    assert json.loads(done.output) == {"id": "mine", "due_at": "2100-01-01T10:00:00+00:00"}
    again = quick(*arguments)
    assert again.exit_code == 1
    assert "event 'mine' is pending already" in again.stderr
    kept = quick(*arguments, "--on-conflict", "keep")
    assert kept.exit_code == 0
    replaced = quick("post", "proj.note", "--delay", "60", "--id", "mine", "--on-conflict", "replace", "--args", "[5]")
    assert replaced.exit_code == 0
    assert note.AsyncResult("mine").peek().args == "(5,)"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["proj.note"], 2, "give --delay or --eta"),
        (["proj.note", "--delay", "1", "--eta", "2100-01-01"], 2, "not both"),
        (["proj.nobody", "--delay", "60"], 1, "TASK must be the name of a task of the app, got proj.nobody"),
        (["\x1b[31m", "--delay", "60"], 1, r"got \x1b[31m"),
        (["proj.note", "--delay", "60", "--args", "{}"], 2, "--args must be a JSON array, got {}"),
        (["proj.note", "--delay", "60", "--args", "[1"], 2, "--args must be a JSON array, got [1: "),
        (["proj.note", "--delay", "60", "--args", "5"], 2, "--args must be a JSON array, got 5"),
        (["proj.note", "--delay", "60", "--kwargs", "[]"], 2, "--kwargs must be a JSON object, got []"),
        (["proj.note", "--delay", "60", "--kwargs", "x" * 10_000], 2, "--kwargs must be a JSON object"),
        (["proj.note", "--delay", "nan"], 1, "delay must be"),
        (["proj.note", "--eta", "soon"], 1, "eta must be a datetime or ISO 8601 text, got 'soon'"),
        (["proj.note", "--delay", "60", "--id", ""], 1, "id must be a string of 1 to 200 bytes"),
        (["proj.note", "--delay", "60", "--on-conflict", "maybe"], 2, "'maybe' is not one of"),
        (["proj.early_nap", "--delay", "60", "--args", "[1, 2, 3]"], 1, "early_nap"),
        (["proj.note", "--delay", "60", "-Q", "q" * 300], 1, "queue"),
    ],
)
def test_bad_input_is_one_clear_error_and_nothing_is_posted(quick, note, timer, arguments, status, said):
    refused = quick("post", *arguments)
    assert refused.exit_code == status, refused.output
    assert said in refused.output
    assert "Traceback" not in refused.output
    assert len(refused.output) < 3000
    assert timer.count().pending == 0
