"""From a URL to a client: what it may hold, and which of its mistakes are found before anything is sent."""

from urllib.parse import quote

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
    with pytest.raises(SettingsError, match="^url_or_client ") as caught:
        DTimer(url.replace("://", "://user:hunter2@"))
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        # redis-py takes any text as true.
        ("redis://localhost/0?decode_responses=True", "'decode_responses', which no timer takes"),
        ("redis://localhost/0?decode_responses=False", "'decode_responses', which no timer takes"),
        ("sentinel://localhost?master_name=m&decode_responses=1", "'decode_responses'"),
        ("redis+cluster://localhost?decode_responses=1", "'decode_responses'"),
        ("redis://localhost/0?encoding=utf-16", "'encoding', which no timer takes"),
        ("redis://localhost/0?encoding_errors=ignore", "'encoding_errors'"),
        ("redis://localhost/0?credential_provider=module.Class", "'credential_provider'"),
        ("redis://localhost/0?retry=3", "'retry', which is unknown"),
        ("redis://localhost/0?retry_on_error=some", "'retry_on_error'"),
        ("redis://localhost/0?parser_class=some", "'parser_class'"),
        ("redis://localhost/0?redis_connect_func=some", "'redis_connect_func'"),
        ("redis://localhost/0?socket_timeot=1", "did you mean socket_timeout?"),
        ("redis://localhost/0?=1", "no name"),
        ("redis://localhost/0?protocol=3", "protocol 2"),
        ("redis://localhost/0?socket_timeout=-1", "socket_timeout=-1.0"),
        ("redis://localhost/0?socket_timeout=0", "socket_timeout=0.0"),
        ("redis://localhost/0?socket_timeout=nan", "socket_timeout=nan"),
        ("redis://localhost/0?socket_connect_timeout=1e12", "86400 s at most"),
        ("redis://localhost/0?max_connections=-1", "no URL that redis-py understands"),
        ("redis://localhost/zero", "number of a database"),
        ("redis://localhost/1/2", "number of a database"),
        ("redis://localhost/0?db=-1", "begin at 0"),
        ("redis://localhost:0/0", "port 0"),
        ("redis://localhost/0?port=some", "port"),
        ("redis://localhost/0?port=70000", "port"),
        ("redis://a..b/0", "host"),
        (f"redis://{'a' * 70}/0", "host"),
        ("redis://a%00b/0", "character"),
        ("unix:///run/a%00b.sock", "path"),
        ("unix://", "path"),
        ("redis://localhost/0?ssl=true", "'ssl', which is unknown"),
        ("rediss://localhost/0?ssl_min_version=5", "ssl_min_version"),
        ("rediss://localhost/0?ssl_ca_certs=%00", "ssl_ca_certs"),
        ("redis://:\ud800@localhost", "character"),
        ("redis:localhost", "must be a URL of"),
    ],
)
def test_what_redis_py_would_try_for_ever_or_raise_raw_is_refused_at_once(url, words):
    with pytest.raises(SettingsError, match="^url_or_client ") as caught:
        DTimer(url)
    assert words in str(caught.value)
    assert caught.value.setting == "url_or_client"


def test_what_is_percent_encoded_in_a_url_is_decoded_once(start_redis):
    server = start_redis()
    password = "p%40/:?#[]@ %25+&=ü"
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "us+er@", "on", f">{password}", "~*", "+@all")
    userinfo = f"us%2Ber%40:{quote(password, safe='')}@"
    for url in (
        server.url_of(0).replace("://", f"://{userinfo}"),
        server.url_of(0).replace("redis://", f"redis://{userinfo}").replace("/0", "/%30"),
    ):
        with DTimer(url) as timer:
            assert timer.peek("some-id") is None


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
