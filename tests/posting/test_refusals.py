"""What can't be posted is refused at the call, with an error that says why, and leaves the keyspace as it was."""

import threading
import time
from datetime import UTC, datetime, timedelta
from datetime import time as dtime
from decimal import Decimal
from fractions import Fraction

import pytest
from celery import Task
from celery.signals import before_task_publish
from kombu.exceptions import SerializerNotInstalled
from rig.ports import HOST, free_port
from rig.waiting import wait_until

from celery_dtimer import (
    DTimerError,
    EventExistsError,
    InvalidDelayError,
    InvalidEventError,
    PayloadError,
    PayloadTooLargeError,
    SettingsError,
    TimerFullError,
    TimerResult,
    TimerUnavailableError,
    install,
)

INSTANT = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def refused(add, keyspace):
    """Posts something that must be refused, beside a task that waits; returns the error."""
    add.post((1,), delay=60, task_id="waits")
    before = keyspace()

    def refused(error, args=(1,), /, **options):
        with pytest.raises(error) as caught:
            add.post(args, **options)
        assert keyspace() == before
        return caught.value

    return refused


@pytest.mark.parametrize(
    ("delay", "words"),
    [
        ("60", "'60' (str)"),
        ([60], "[60] (list)"),
        (1j, "1j (complex)"),
        (INSTANT, "(datetime)"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (Decimal("NaN"), "NaN"),
        (Decimal("sNaN"), "sNaN"),
        (Decimal("Infinity"), "Infinity"),
        (1e300, "1e+300"),
        (10**400, "year 9999"),
        (Fraction(10**400, 3), "year 9999"),
        (8000 * 366 * 86400, "year 9999"),
        (timedelta.max, "year 9999"),
    ],
)
def test_a_delay_that_is_no_span_of_time_is_refused(add, refused, delay, words):
    error = refused(InvalidDelayError, delay=delay)
    assert isinstance(error, ValueError)
    assert words in str(error)
    assert error.argument == "delay"
    assert error.value is delay
    with pytest.raises(InvalidDelayError, match="delay"):
        add.post_in(delay, 1)


def test_a_post_needs_a_delay_or_an_eta_and_not_both(add, refused):
    assert "delay=None and eta=None" in str(refused(InvalidDelayError))
    assert "not both" in str(refused(InvalidDelayError, delay=60, eta=INSTANT))
    refused(InvalidDelayError, delay=0, eta=INSTANT)
    with pytest.raises(InvalidDelayError):
        add.post_in(None, 1)
    with pytest.raises(InvalidDelayError):
        add.post_at(None, 1)


@pytest.mark.parametrize(
    "eta",
    [
        60,
        0,
        1.5,
        True,
        dtime(12),
        timedelta(1),
        [],
        "",
        "tomorrow",
        "2100-13-01",
        "2100-01-01T25:00",
    ],
)
def test_an_eta_that_is_no_instant_is_refused(refused, eta):
    error = refused(InvalidDelayError, eta=eta)
    assert repr(eta) in str(error)
    assert error.argument == "eta"
    assert error.value is eta


def test_an_eta_that_the_apps_time_zone_can_not_say_is_stored(app, add):
    app.conf.timezone = "Asia/Tokyo"
    eta = datetime(9999, 12, 31, 20, tzinfo=UTC)
    assert add.post_at(eta, 1).peek().due_at == eta
    assert add.post_at(datetime.max.replace(tzinfo=UTC), 1).peek() is not None


@pytest.mark.parametrize(
    ("task_id", "words"),
    [
        ("", "a string of 1 to 200 bytes of UTF-8, got ''"),
        ("x" * 201, "1 to 200 bytes of UTF-8, got 'xxx"),
        ("ü" * 101, "1 to 200 bytes of UTF-8, got 'üüü"),
        ("\ud800", "'\\ud800'"),
        (b"bytes", "b'bytes' (bytes)"),
        (17, "17 (int)"),
        (0, "0 (int)"),
    ],
)
def test_an_id_that_is_no_name_is_refused(refused, task_id, words):
    error = refused(InvalidEventError, delay=60, task_id=task_id)
    assert words in str(error)
    assert error.argument == "id"
    assert error.value == task_id


def test_the_longest_id_and_an_id_of_any_characters_are_stored(add):
    for task_id in ("ü" * 100, "with space\n:{}\x00*", "0"):
        result = add.post((1,), delay=60, task_id=task_id)
        assert result.peek().id == task_id
        assert result.cancel()


@pytest.mark.parametrize("queue", ["x" * 256, "\ud800"])
def test_a_queue_that_is_no_name_is_refused(refused, queue):
    assert refused(InvalidEventError, delay=60, queue=queue).argument == "queue"


@pytest.mark.parametrize("args", ["text", b"bytes", {"x": 1}, 5])
def test_positional_arguments_that_are_no_sequence_are_refused(app, args, keyspace):
    @app.task(name="untyped", typing=False)
    def untyped():
        pass

    with pytest.raises(PayloadError, match="args"):
        untyped.post(args, delay=60)
    assert keyspace() == {}


@pytest.mark.parametrize("kwargs", [[1], 5, "text"])
def test_keyword_arguments_that_are_no_mapping_are_refused(app, kwargs, keyspace):
    @app.task(name="untyped", typing=False)
    def untyped():
        pass

    with pytest.raises(PayloadError, match="kwargs"):
        untyped.post((), kwargs, delay=60)
    assert keyspace() == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "json"),
        ({"serializer": "msgpack"}, "msgpack"),
        ({"serializer": "pickle"}, "pickle"),
    ],
)
def test_arguments_that_the_serializer_refuses_are_refused(refused, options, words):
    error = refused(PayloadError, (threading.Lock(),), delay=60, **options)
    assert isinstance(error, TypeError)
    assert words in str(error)
    assert " add" in str(error)
    assert error.__cause__ is not None


def test_a_header_that_is_no_json_is_refused(refused):
    error = refused(PayloadError, delay=60, headers={"mine": object()})
    assert "header" in str(error)
    assert "add" in str(error)
    circle = []
    circle.append(circle)
    refused(PayloadError, delay=60, headers={"mine": circle})


def test_an_unknown_serializer_or_compression_is_refused_as_by_celery(refused):
    assert "nonsense" in str(refused(SerializerNotInstalled, delay=60, serializer="nonsense"))
    assert "nonsense" in str(refused((KeyError, DTimerError), delay=60, compression="nonsense"))


def test_a_payload_over_the_limit_is_refused_with_size_limit_and_setting(app, refused):
    install(app, max_payload=20_000)
    error = refused(PayloadTooLargeError, ("x" * 40_000,), delay=60)
    assert error.limit == 20_000
    assert 40_000 < error.size < 42_000
    for word in (str(error.size), "20000", "dtimer_max_payload"):
        assert word in str(error)


def test_a_payload_of_exactly_the_limit_is_stored_and_one_byte_more_is_not(app, add):
    # Too long to be compressed, so that each character counts.
    size = len(add.post(("x" * 20_000,), delay=60, argsrepr="").peek().payload)
    install(app, max_payload=size)
    add.post(("x" * 20_000,), delay=60, argsrepr="")
    with pytest.raises(PayloadTooLargeError) as caught:
        add.post(("x" * 20_001,), delay=60, argsrepr="")
    assert caught.value.size == size + 1


@pytest.mark.parametrize("option", ["countdown", "producer", "connection", "publisher", "name", "task_type", "dtimer"])
def test_options_that_contradict_a_post_are_refused(refused, option):
    error = refused(InvalidEventError, delay=60, **{option: 0 if option == "countdown" else object()})
    assert f"no {option}: " in str(error)
    assert error.argument == option


def test_a_content_type_without_a_serialized_body_is_refused(refused):
    error = refused(PayloadError, delay=60, content_type="text/plain")
    assert "leave content_type to the serializer" in str(error)


def test_options_of_none_contradict_nothing(add):
    options = dict.fromkeys(("countdown", "producer", "connection", "publisher"))
    assert add.post((1,), delay=60, **options).peek() is not None


@pytest.mark.parametrize(
    ("countdown", "words"), [(60, "use delay=60"), (0, "use delay=0"), (timedelta(1), "use delay=datetime.timedelta")]
)
def test_a_countdown_is_refused_and_told_of_the_delay(refused, countdown, words):
    error = refused(InvalidEventError, countdown=countdown)
    assert words in str(error)
    assert (error.argument, error.value) == ("countdown", countdown)


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("dealy", "delay"),
        ("etas", "eta"),
        ("max_redelivery", "max_redeliveries"),
        ("on_conflicts", "on_conflict"),
        ("maxwait", "max_wait"),
        ("expire", "expires"),
        ("taskid", "task_id"),
        ("queu", "queue"),
        ("header", "headers"),
        ("serialiser", "serializer"),
        ("softtime_limit", "soft_time_limit"),
        ("link_errors", "link_error"),
    ],
)
def test_an_option_that_is_misspelt_is_refused_and_told_of_the_right_one(refused, option, meant):
    error = refused(InvalidEventError, delay=60, **{option: 5})
    assert f"post() takes no {option}: is {meant} meant?" in str(error)
    assert (error.argument, error.value) == (option, 5)


def test_an_option_of_somebody_elses_is_left_to_the_router_the_task_class_and_the_message(app, stored):
    class Expiring(Task):
        def apply_async(self, args=None, kwargs=None, expire=None, **options):
            return super().apply_async(args, kwargs, headers={"expire": expire}, **options)

    @app.task(name="expiring", base=Expiring)
    def expiring():
        pass

    seen = []
    app.conf.task_routes = (lambda name, args, kwargs, options, task=None, **more: seen.append(options["tenant"]),)
    result = expiring.post(delay=60, expire=5, tenant="Ada", stamped_headers=["headerz"], headerz="stamp")
    message = stored(result)
    assert message.headers["expire"] == 5
    assert message.headers["stamps"] == {"headerz": "stamp"}
    assert message.properties["tenant"] == "Ada"
    assert seen == ["Ada"]


def test_an_option_given_to_post_in_is_told_of_post(add, keyspace):
    with pytest.raises(TypeError, match="unexpected keyword argument 'queue'") as caught:
        add.post_in(60, 1, queue="mail")
    assert "an option of the call goes into post(args, kwargs, delay=..., queue=...)" in caught.value.__notes__[0]
    with pytest.raises(TypeError) as caught:
        add.post_at(INSTANT, 1, expires=60)
    assert "post(args, kwargs, eta=..., expires=...)" in caught.value.__notes__[0]
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'") as caught:
        add.post_in(60, 1, z=3)
    assert not hasattr(caught.value, "__notes__")
    assert keyspace() == {}


@pytest.mark.parametrize(
    ("post", "words"),
    [
        (lambda add: add.post_in(INSTANT, 1), "(datetime): an instant is an eta"),
        (lambda add: add.post_in(INSTANT.date(), 1), "(date): an instant is an eta"),
        (lambda add: add.post_at(60, 1), "60 (int): a span from now on is a delay"),
        (lambda add: add.post_at(timedelta(1), 1), "(timedelta): a span from now on is a delay"),
        (
            lambda add: add.post(1, delay=60),
            "args must be a sequence of arguments, got 1 (int): for one argument, (argument,)",
        ),
    ],
)
def test_what_is_given_in_the_place_of_another_is_told_where_it_belongs(add, keyspace, post, words):
    with pytest.raises(InvalidEventError) as caught:
        post(add)
    assert words in str(caught.value)
    assert keyspace() == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_conflict": "overwrite"}, ["on_conflict", "'overwrite'", "error, keep, replace, postpone"]),
        ({"on_conflict": None}, ["on_conflict", "None"]),
        ({"on_conflict": "again"}, ["on_conflict", "'again'"]),
        ({"on_conflict": ["keep"]}, ["on_conflict", "['keep']"]),
        ({"max_wait": 5}, ["max_wait", "postpone", "'error'"]),
        ({"max_wait": 5, "on_conflict": "keep"}, ["max_wait", "postpone", "'keep'"]),
        ({"max_wait": "5", "on_conflict": "postpone"}, ["max_wait", "'5'"]),
        ({"max_wait": -5, "on_conflict": "postpone"}, ["max_wait", "-5"]),
        ({"max_redeliveries": -1}, ["max_redeliveries", "-1"]),
        ({"max_redeliveries": 1.5}, ["max_redeliveries", "1.5"]),
        ({"max_redeliveries": True}, ["max_redeliveries", "True"]),
        ({"max_redeliveries": 2**31}, ["max_redeliveries", str(2**31)]),
    ],
)
def test_wrong_options_of_the_timer_are_refused(refused, options, words):
    error = refused(InvalidEventError, delay=60, **options)
    for word in words:
        assert word in str(error)
    assert error.argument == words[0]


def test_bad_input_is_refused_before_any_signal_fires(add, refused):
    fired = []

    def before(**given):
        fired.append(given)

    before_task_publish.connect(before)
    try:
        refused(InvalidDelayError, delay="soon")
        refused(InvalidDelayError, eta="soon")
        refused(InvalidEventError, delay=60, on_conflict="no")
        refused(InvalidEventError, delay=60, task_id="x" * 201)
        refused(InvalidEventError, delay=60, task_id="")
    finally:
        before_task_publish.disconnect(before)
    assert fired == []


def test_moving_a_task_to_no_instant_is_refused(add, keyspace):
    result = add.post_in(60, 1)
    before = keyspace()
    for move in (
        lambda: result.change_delay("60"),
        lambda: result.change_delay(float("nan")),
        lambda: result.change_eta(60),
        lambda: result.change_eta("soon"),
    ):
        with pytest.raises(InvalidDelayError):
            move()
    assert keyspace() == before


# --- the settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dtimer_ulr": "redis://"}, ["dtimer_ulr", "did you mean dtimer_url?"]),
        ({"dtimer_max_payload": "1 MB"}, ["dtimer_max_payload", "'1 MB'"]),
        ({"dtimer_url": None}, ["dtimer_url", "amqp://", "redis:// URL"]),
    ],
)
def test_a_wrong_setting_is_an_error_at_the_call(make_app, redis_url, settings, words):
    app = make_app(broker="amqp://guest:secret@nowhere//", **{"dtimer_url": redis_url, **settings})

    @app.task(name="unsettled")
    def unsettled():
        pass

    with pytest.raises(SettingsError) as caught:
        unsettled.post_in(60)
    for word in words:
        assert word in str(caught.value)
    assert "secret" not in str(caught.value)
    # It is found again, not remembered as settled.
    with pytest.raises(SettingsError):
        unsettled.post_in(60)


# --- the timer's Redis


@pytest.fixture
def post_to(make_app):
    """Makes a task of an app whose timer is at a URL."""

    def post_to(url, **settings):
        app = make_app(dtimer_url=url, **settings)

        @app.task(name="remote", lazy=False)
        def remote(x=None):
            pass

        return remote

    return post_to


def test_a_redis_that_is_down_is_an_error_that_names_the_task_and_what_is_safe(post_to):
    remote = post_to(f"redis://:secret@{HOST}:{free_port()}", task_publish_retry_policy={"max_retries": 0})
    with pytest.raises(TimerUnavailableError) as caught:
        remote.post((), delay=60, task_id="the one")
    error = caught.value
    assert isinstance(error, ConnectionError)
    assert error.event_ids == ("the one",)
    for words in ("the one", "may or may not be stored", "again is safe"):
        assert words in str(error)
    assert "secret" not in str(error)
    assert error.__cause__ is not None


def test_each_question_to_a_redis_that_is_down_names_the_task(post_to):
    result = TimerResult("the one", app=post_to(f"redis://{HOST}:{free_port()}").app)
    for ask in (result.peek, result.cancel, lambda: result.change_delay(1), lambda: result.change_eta(INSTANT)):
        with pytest.raises(TimerUnavailableError, match="the one") as caught:
            ask()
        assert caught.value.event_ids == ("the one",)


@pytest.mark.parametrize(
    ("settings", "options", "pauses"),
    [
        ({}, {"retry": False}, []),
        ({"task_publish_retry": False}, {}, []),
        ({"task_publish_retry": False}, {"retry": True, "retry_policy": {"interval_start": 0.1}}, [0.1, 0.3, 0.5]),
        ({}, {}, [0, 0.2, 0.4]),
        ({"task_publish_retry_policy": {"max_retries": 1, "interval_start": 0.3}}, {}, [0.3]),
        ({}, {"retry_policy": {"max_retries": 1, "interval_start": 0.3}}, [0.3]),
        ({"task_publish_retry_policy": {"max_retries": 0}}, {}, []),
    ],
)
def test_the_publish_retry_policy_says_how_long_a_post_goes_on(post_to, settings, options, pauses, caplog):
    caplog.set_level("DEBUG", "celery_dtimer")
    remote = post_to(f"redis://{HOST}:{free_port()}", **settings)
    begin = time.monotonic()
    with pytest.raises(TimerUnavailableError):
        remote.post((), delay=60, **options)
    assert time.monotonic() - begin >= sum(pauses)
    # The log's line of a repeat: the id, the pause in seconds, and why.
    assert [record.args[1] for record in caplog.records if "again" in record.msg] == pytest.approx(pauses)


def test_a_redis_that_comes_back_in_the_midst_of_a_post_stores_it_once(post_to, start_redis):
    server = start_redis(options={"appendonly": "yes", "appendfsync": "always"})
    remote = post_to(server.url)
    remote.post_in(3600).cancel()
    server.kill()
    policy = {"max_retries": 100, "interval_start": 0.05, "interval_step": 0, "interval_max": 0.05}
    results = []
    thread = threading.Thread(
        target=lambda: results.append(remote.post((1,), delay=60, task_id="one", retry_policy=policy)), daemon=True
    )
    thread.start()
    server.restart()
    thread.join(10)
    [result] = results
    assert result.peek().id == "one"
    with server.client() as client:
        assert client.zcard("{dt:tasks:0}:due:" + remote.app.conf.task_default_queue) == 1


@pytest.mark.parametrize("on_conflict", ["error", "keep", "replace", "postpone"])
def test_a_post_that_was_carried_out_and_not_answered_is_stored_once(post_to, start_redis, on_conflict):
    server = start_redis()
    remote = post_to(f"{server.url}?socket_timeout=0.2")
    remote.post_in(3600).cancel()
    policy = {"max_retries": 100, "interval_start": 0.02, "interval_step": 0, "interval_max": 0.02}
    results = []

    def post():
        results.append(remote.post((1,), delay=60, task_id="one", on_conflict=on_conflict, retry_policy=policy))

    thread = threading.Thread(target=post, daemon=True)
    with server.client() as client:
        attempts = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
        server.pause()
        thread.start()
        # The attempt is in the server's hands, and times out on our side: what it does with it, it does later.
        thread.join(0.35)
        assert not results
        server.resume()
        thread.join(10)
        [result] = results
        calls = wait_until(lambda: client.info("commandstats")["cmdstat_evalsha"]["calls"], "the attempts")
        assert calls - attempts >= 2, "no attempt was repeated: the test proves nothing"
        assert client.zcard("{dt:tasks:0}:due:" + remote.app.conf.task_default_queue) == 1
    assert result.peek() is not None


def test_a_repeat_does_not_pass_for_another_task_of_the_same_id(post_to, start_redis):
    server = start_redis()
    remote = post_to(f"{server.url}?socket_timeout=0.2")
    remote.post((1,), delay=3600, task_id="one")
    policy = {"max_retries": 100, "interval_start": 0.02, "interval_step": 0, "interval_max": 0.02}
    errors = []

    def post():
        try:
            remote.post((2,), delay=60, task_id="one", retry_policy=policy)
        except EventExistsError as error:
            errors.append(error)

    thread = threading.Thread(target=post, daemon=True)
    server.pause()
    thread.start()
    thread.join(0.35)
    server.resume()
    thread.join(10)
    assert [error.event_id for error in errors] == ["one"]


def test_a_connection_that_broke_between_two_posts_is_no_error(post_to, start_redis):
    server = start_redis()
    remote = post_to(server.url)
    first = remote.post_in(60)
    with server.client() as client:
        client.client_kill_filter(skipme=True, _type="normal")
    second = remote.post_in(60)
    assert first.peek() is not None
    assert second.peek() is not None


def test_a_redis_at_its_maxmemory_refuses_posts_and_lets_cancel(post_to, start_redis):
    server = start_redis()
    remote = post_to(server.url)
    waiting = remote.post_in(60)
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        before = client.dbsize()
        with pytest.raises(TimerFullError) as caught:
            remote.post((), delay=60, task_id="too much")
        assert not isinstance(caught.value, MemoryError)
        for words in ("maxmemory", "a Redis of its own"):
            assert words in str(caught.value)
        assert client.dbsize() == before
        assert waiting.peek() is not None
        assert waiting.change_delay(90)
    assert waiting.cancel()


@pytest.mark.parametrize("cause", ["readonly", "noperm", "wrongpass"])
def test_a_redis_that_refuses_for_another_reason_is_an_error_of_ours_too(post_to, start_redis, cause):
    server = start_redis()
    url = server.url
    with server.client() as client:
        if cause == "readonly":
            client.replicaof(HOST, free_port())
        elif cause == "noperm":
            client.acl_setuser("poor", enabled=True, nopass=True, keys=["*"], commands=["+ping"])
            url = server.url.replace("redis://", "redis://poor:any@")
        else:
            client.acl_setuser("poor", enabled=True, passwords=["+right"], keys=["*"], categories=["+@all"])
            url = server.url.replace("redis://", "redis://poor:wrong@")
        remote = post_to(url, task_publish_retry=False)
        with pytest.raises(TimerUnavailableError):
            remote.post_in(60)
        with pytest.raises(TimerUnavailableError):
            TimerResult("one", app=remote.app).cancel()
