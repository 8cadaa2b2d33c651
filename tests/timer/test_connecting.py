"""From a URL to a client: what it may hold, and which of its mistakes are found before anything is sent."""

import pytest
from rig.waiting import wait_until

from celery_dtimer.errors import SettingsError, TimerUnavailableError
from celery_dtimer.timer.dtimer import DTimer


def test_a_timer_listens_over_a_unix_socket(start_redis):
    rung = []
    with DTimer(start_redis(unix=True).url) as timer:
        timer.on_event(rung.append)
        timer.join()
        timer.post(b"p", 0, max_redeliveries=0)
        wait_until(lambda: rung, "the event")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://localhost/0?ssl_ca_certs=/x", "ssl_ca_certs"),
        ("redis://localhost/0?no_such_option=1", "no_such_option"),
        ("unix:///nowhere?ssl_ca_certs=/x", "ssl_ca_certs"),
        ("rediss://localhost/0?ssl_cert_reqs=perhaps", "perhaps"),
        ("rediss://localhost/0?ssl_ca_certs=/nowhere/ca.pem", "ssl_ca_certs='/nowhere/ca.pem', which is no file"),
        ("rediss://localhost/0?ssl_certfile=/nowhere/it.pem", "ssl_certfile='/nowhere/it.pem', which is no file"),
        ("rediss://localhost/0?ssl_keyfile=/nowhere/it.key", "ssl_keyfile='/nowhere/it.key', which is no file"),
    ],
)
def test_an_option_that_cannot_work_is_refused_by_name(url, words):
    with pytest.raises(SettingsError, match="dtimer_url") as caught:
        DTimer(url.replace("://", "://user:hunter2@"))
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_wrong_password_is_called_that_and_not_shown(start_redis):
    server = start_redis()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "user", "on", ">right")
    with (
        DTimer(server.url_of(0).replace("://", "://user:hunter2@")) as timer,
        pytest.raises(TimerUnavailableError, match="refused the user or the password") as caught,
    ):
        timer.post(b"p", 60)
    assert "hunter2" not in str(caught.value)


def test_a_listener_that_may_not_be_woken_says_so_once_and_claims_all_the_same(start_redis):
    server = start_redis()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "user", "on", ">right", "~*", "+@all", "-blpop")
    errors, rung = [], []
    with DTimer(server.url_of(0).replace("://", "://user:right@")) as timer:
        timer.on_event(rung.append)
        timer.on_error(errors.append)
        timer.join()
        wait_until(lambda: errors, "the error")
        for number in range(1, 4):
            timer.post(b"p", 0, max_redeliveries=0)
            wait_until(lambda number=number: len(rung) == number, "the event")
    [error] = errors
    assert "blpop" in str(error)
