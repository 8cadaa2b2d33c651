"""The guard against keys that a test leaves behind, seen from a test run of its own."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

LEAVES_A_KEY = "def test(redis_client): redis_client.set('{dt:0}:due:celery', 1)"
EXPECTS_ANOTHER = """
def test(redis_client, expected_keys):
    expected_keys.append('{dt:0}:parked*')
    redis_client.set('{dt:0}:due:celery', 1)
"""
EXPECTS_IT = """
def test(redis_client, expected_keys):
    expected_keys.append('{dt:*}:due:celery')
    redis_client.set('{dt:0}:due:celery', 1)
"""
LEAVES_WHAT_IS_NOT_THE_TIMERS = "def test(redis_client): redis_client.set('celery-task-meta-1', 1)"
USES_NO_SERVER = "def test(): pass"


@pytest.fixture
def run(pytester):
    def run(source):
        pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))
        pytester.makepyfile(source)
        return pytester.runpytest_inprocess("-p", "no:valkey", "-p", "no:randomly")

    return run


@pytest.mark.parametrize("source", [LEAVES_A_KEY, EXPECTS_ANOTHER])
def test_a_key_that_was_not_expected_fails_the_test(run, source):
    result = run(source)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*keys left behind: *{dt:0}:due:celery*"])


@pytest.mark.parametrize("source", [EXPECTS_IT, LEAVES_WHAT_IS_NOT_THE_TIMERS])
def test_an_expected_key_or_a_key_of_others_is_let_pass(run, source):
    run(source).assert_outcomes(passed=1)


def test_a_test_without_redis_starts_no_server(run, monkeypatch):
    monkeypatch.setenv("DTIMER_TEST_SERVER", "/nowhere")
    run(USES_NO_SERVER).assert_outcomes(passed=1)
    run(LEAVES_A_KEY).assert_outcomes(errors=1)
