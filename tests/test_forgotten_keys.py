"""The guard against keys that a test leaves behind, seen from a test run of its own."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TESTS = """
def test_forgets_one(redis_client):
    redis_client.set('{dt:0}:due:celery', 1)

def test_expects_another(redis_client, expected_keys):
    expected_keys.append('{dt:0}:parked*')
    redis_client.set('{dt:0}:due:celery', 1)

def test_expects_it(redis_client, expected_keys):
    expected_keys.append('{dt:*}:due:celery')
    redis_client.set('{dt:0}:due:celery', 1)

def test_leaves_what_is_not_the_timers(redis_client):
    redis_client.set('celery-task-meta-1', 1)

def test_asks_late(request):
    request.getfixturevalue('redis_client').set('{dt:0}:wake', 1)

def test_uses_no_server():
    pass
"""


@pytest.fixture
def run(pytester):
    def run(*arguments):
        pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))
        pytester.makepyfile(test_guarded_keys=TESTS)
        return pytester.runpytest_inprocess("-p", "no:valkey", "-p", "no:randomly", *arguments)

    return run


def test_a_key_of_the_timer_that_was_not_expected_fails_the_test_that_left_it(run):
    result = run("-rE")
    result.assert_outcomes(passed=6, errors=3)
    result.stdout.fnmatch_lines_random(
        ["ERROR *::test_forgets_one*", "ERROR *::test_expects_another*", "ERROR *::test_asks_late*"]
    )
    result.stdout.fnmatch_lines(["*keys left behind: *{dt:0}:due:celery*"])


def test_a_test_without_redis_starts_no_server(run, monkeypatch):
    monkeypatch.setenv("DTIMER_TEST_SERVER", "/nowhere")
    run("-k", "uses_no_server or expects_it").assert_outcomes(passed=1, errors=1)
