"""The documented ACL is enough for all that the timer does, and is the least: without any rule of it something fails.

The timer's own tests, and a worker, run under it too: see run.py.
"""

import re

import pytest
from rig.outsider import Outsider
from rig.releases import rights, user_of
from rig.waiting import wait_until

from celery_dtimer.errors import TimerUnavailableError

RULES = rights()
COMMANDS = [rule for rule in RULES if rule.startswith("+")]
[KEYS] = [rule for rule in RULES if rule.startswith("~")]


@pytest.fixture
def server(start_redis):
    return start_redis()


@pytest.fixture
def admin(server):
    with server.client() as client:
        yield client


@pytest.fixture
def allow(server, admin):
    """Gives the user these rules; returns the URL with that user in it."""

    def allow(rules):
        admin.execute_command("ACL", "SETUSER", "dtimer", *rules)
        return server.url_of(0).replace("://", f"://{user_of(RULES)}")

    return allow


def without(rule):
    return [each for each in RULES if each != rule]


def everything(url, admin):
    """Do all that a timer does, as a listener too; return the errors that its error handler was told."""
    errors, rung = [], []
    with Outsider(url, confirm_timeout=60) as timer:
        timer.on_event(rung.append)
        timer.on_error(errors.append)

        def delivered():
            wait_until(lambda: rung or errors, "an event to be delivered")
            return rung.pop() if rung and not errors else None

        timer.post(b"p", 60, id="x")
        timer.post(b"p", 60, id="x", on_conflict="postpone")
        timer.post(b"p", 60, id="x", on_conflict="replace")
        timer.change_delay("x", 50)
        assert [event.id for event in timer.upcoming(payloads=True)] == ["x"]
        assert timer.peek("x")
        assert timer.count().pending == 1
        assert timer.cancel("x")
        timer.join()
        wait_until(lambda: errors or admin.info("clients")["blocked_clients"], "the listener to wait on its wake list")
        timer.post(b"p", 0, id="parked", max_redeliveries=1)
        for _ in range(2):
            if delivery := delivered():
                timer.renew(delivery)
                timer.release(delivery)
        if not errors:
            assert timer.peek("parked").reason
            (event,) = timer.parked()
            assert timer.parked(after=event.cursor) == []
            assert timer.replay_many(kind="none").done == 0
            assert timer.drop_many(["none"]).unknown == ("none",)
            assert timer.replay("parked", 60)
            assert timer.hold(kind="kind")
            assert timer.hold(queue="held")
            assert len(timer.holds()) == 2
            assert timer.resume(queue="held")
            assert timer.resume(kind="kind")
            assert timer.cancel("parked")
            timer.post(b"p", 0, id="y")
        if delivery := delivered():
            timer.confirm(delivery)
            timer.post(b"p", 0, id="once", max_redeliveries=0)
        delivered()
        wait_until(lambda: errors or admin.exists("{dt:tasks:0}:polls"), "the listener to look of its own accord")
    return errors


def error_of(url, admin):
    """What the first error says, be it raised or told to the error handler."""
    try:
        errors = everything(url, admin)
    except TimerUnavailableError as exc:
        errors = [exc]
    return str(errors[0]) if errors else None


def test_the_rules_are_enough_and_nothing_else_is_tried(allow, admin):
    assert everything(allow(RULES), admin) == []
    wait_until(lambda: {*admin.keys()} <= {b"{dt:tasks:0}:layout"}, "the last key to expire")
    # redis-py tells Redis its name, and a listener its own; the timer asks for the eviction policy. All may be refused.
    refused = {entry[b"object"] for entry in map(as_dict, admin.execute_command("ACL", "LOG"))}
    assert refused <= {b"client", b"client|setinfo", b"client|setname", b"info"}


def as_dict(entry):
    return entry if isinstance(entry, dict) else dict(zip(entry[::2], entry[1::2], strict=True))


@pytest.mark.parametrize("rule", COMMANDS)
def test_without_one_command_there_is_an_error_that_says_so(allow, admin, rule):
    said = error_of(allow(without(rule)), admin)
    assert said, f"nothing needs {rule}"
    # Of a command in a script, only Redis 7.2 and later tell the name.
    assert re.search(f"'{rule[1:].partition('|')[0]}\\b.*'|can't run this command", said)


def test_without_its_keys_there_is_an_error_that_says_so(allow, admin):
    assert "access" in error_of(allow(without(KEYS)), admin)


def test_the_keys_of_another_namespace_are_out_of_reach(allow):
    with (
        Outsider(allow(RULES), namespace="other") as timer,
        pytest.raises(TimerUnavailableError, match=r"answered with an error.*key"),
    ):
        timer.post(b"p", 60)


def test_other_keys_and_channels_are_out_of_reach(allow, admin):
    allow(RULES)
    [user] = [line.decode() for line in admin.execute_command("ACL", "LIST") if b"user dtimer " in line]
    assert [word for word in user.split() if word[0] in "~%"] == [KEYS]
    assert [word for word in user.split() if word[0] == "&"] == []


def test_another_database_needs_one_more_right(allow):
    for rules, answer in ((RULES, "'select'"), ([*RULES, "+select"], None)):
        url = allow(rules).removesuffix("0") + "1"
        with Outsider(url) as timer:
            if answer is None:
                assert timer.count().pending == 0
            else:
                with pytest.raises(TimerUnavailableError, match=answer):
                    timer.count()
