"""Every setting in each of its forms, its default, what is said about a wrong one, and no password anywhere."""

import inspect
import re
import ssl
import sys
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from urllib.parse import quote, quote_plus

import kombu
import pytest
from celery import Celery
from hypothesis import given as each
from hypothesis import settings as trials
from hypothesis import strategies as st
from kombu.transport import _transport_cache

import celery_dtimer
from celery_dtimer import DTimerError, SettingsError, TimerUnavailableError, dtimer_task, get_timer, install
from celery_dtimer.extension import extension_of
from celery_dtimer.settings import NAMES, Settings
from celery_dtimer.timer.connecting.url import connect, without_password
from celery_dtimer.timer.storing.namespace import Shards

#: A right value of each setting, other than its default.
RIGHT = {
    "url": "redis://somewhere:1234/5",
    "namespace": "other",
    "max_events": 3,
    "confirm_timeout": 2.5,
    "poll_interval": 0.25,
    "max_redeliveries": 0,
    "takeover": 0.0,
    "shards": 4,
    "max_payload": 1000,
    "wait_replicas": 2,
    "wait_timeout": 0.5,
    "eviction_check": "error",
    "unknown_task_patience": 86400.0,
    "task_aliases": {"shop.old": "shop.new"},
    "misfire": "drop",
    "misfire_grace": 3600.0,
    "parked_ttl": 86400.0,
    "catch_up_rate": 500.0,
    "catch_up_after": 60.0,
    "metrics_port": 9540,
    "metrics_host": "0.0.0.0",
    "web_mask": ("shop.pay*",),
}


@pytest.fixture
def configured(monkeypatch):
    """Makes an app from a configuration, and reads its settings."""
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    apps = []

    def configured(namespace=None, given=None, broker=None, **conf):
        app = Celery("shop", broker=broker, set_as_current=False)
        apps.append(app)
        app.config_from_object(SimpleNamespace(**conf), namespace=namespace)
        install(app, **(given or {}))
        return extension_of(app).settings

    yield configured
    for app in apps:
        app.close()


def test_this_file_knows_every_setting():
    assert list(RIGHT) == list(NAMES)


def test_the_defaults(configured):
    assert configured(dtimer_url="redis://there") == Settings(
        url="redis://there",
        namespace="dt",
        max_events=None,
        confirm_timeout=10.0,
        poll_interval=1.0,
        max_redeliveries=20,
        takeover=None,
        shards=1,
        max_payload=512 * 1024,
        wait_replicas=0,
        wait_timeout=1.0,
        eviction_check="warn",
        unknown_task_patience=3600.0,
    )


@pytest.mark.parametrize("name", RIGHT)
def test_a_setting_in_lowercase(configured, name):
    settings = configured(**{"dtimer_url": "redis://there", f"dtimer_{name}": RIGHT[name]})
    assert getattr(settings, name) == RIGHT[name]


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("namespace", ["CELERY", "SHOP"])
def test_a_setting_with_the_apps_namespace(configured, name, namespace):
    conf = {f"{namespace}_DTIMER_URL": "redis://there", f"{namespace}_DTIMER_{name.upper()}": RIGHT[name]}
    assert getattr(configured(namespace, **conf), name) == RIGHT[name]


@pytest.mark.parametrize("name", RIGHT)
def test_a_setting_given_to_install_goes_before_the_configuration(configured, name):
    settings = configured(
        given={name: RIGHT[name]}, dtimer_url="redis://there", dtimer_namespace="conf", dtimer_max_events=77
    )
    assert getattr(settings, name) == RIGHT[name]


@pytest.mark.parametrize("name", RIGHT)
def test_a_setting_that_is_none_is_as_one_that_is_not_set(configured, name):
    settings = configured(broker="redis://broker", **{f"dtimer_{name}": None})
    assert settings == configured(broker="redis://broker")


def test_settings_may_be_set_on_the_configuration_one_by_one(make_app):
    app = make_app()
    app.conf.dtimer_url = "redis://there"
    app.conf["dtimer_max_events"] = 4
    app.conf.update(dtimer_confirm_timeout=timedelta(minutes=1))
    settings = extension_of(app).settings
    assert (settings.url, settings.max_events, settings.confirm_timeout) == ("redis://there", 4, 60.0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(3, 3.0), (0.1, 0.1), (timedelta(seconds=90), 90.0), (Fraction(1, 2), 0.5), (Decimal("1.5"), 1.5)],
)
def test_confirm_timeout_is_seconds_or_a_timedelta(configured, value, seconds):
    settings = configured(dtimer_url="redis://there", dtimer_confirm_timeout=value)
    assert settings.confirm_timeout == seconds
    assert type(settings.confirm_timeout) is float


@pytest.mark.parametrize("form", ["lowercase", "namespaced", "install"])
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("url", 6379, "URL"),
        ("url", b"redis://there", "bytes"),
        ("url", "there:6379", "redis://"),
        ("url", "", "redis://"),
        ("url", "amqp://there", "redis://"),
        ("url", "http://there", "redis://"),
        ("url", "redis://there:port/0", "port"),
        ("url", "redis://[there", "redis://[there"),
        ("url", "redis://there:6379/0?db=zero", "db"),
        ("url", "redis://there:99999/0", "99999"),
        ("namespace", 1, "name"),
        ("namespace", "", "''"),
        ("namespace", "a:b", "'a:b'"),
        ("namespace", "{a}", "'{a}'"),
        ("namespace", "a b", "'a b'"),
        ("namespace", "x" * 101, "100"),
        ("namespace", "a\n", "white space"),
        ("max_events", 0, "1 on"),
        ("max_events", -1, "-1"),
        ("max_events", "8", "'8'"),
        ("max_events", 8.0, "8.0"),
        ("max_events", True, "True"),
        ("confirm_timeout", "10", "'10'"),
        ("confirm_timeout", 0, "0.1 s"),
        ("confirm_timeout", -1, "-1"),
        ("confirm_timeout", True, "True"),
        ("confirm_timeout", float("nan"), "nan"),
        ("confirm_timeout", float("inf"), "inf"),
        ("confirm_timeout", 10**400, "finite"),
        ("confirm_timeout", Decimal("sNaN"), "finite"),
        ("confirm_timeout", timedelta(0), "0.1 s"),
        ("poll_interval", 0, "0.1 s to 60 s"),
        ("poll_interval", 61, "60 s"),
        ("poll_interval", "1", "timedelta"),
        ("max_redeliveries", -1, "0 on"),
        ("max_redeliveries", 1.0, "1.0"),
        ("max_redeliveries", "3", "'3'"),
        ("max_redeliveries", False, "False"),
        ("takeover", -1, "0 s"),
        ("parked_ttl", 0, "1 s to"),
        ("takeover", "60", "'60'"),
        ("takeover", True, "True"),
        ("takeover", float("nan"), "nan"),
        ("shards", 0, "1 to 64"),
        ("shards", 65, "1 to 64"),
        ("shards", "4", "'4'"),
        ("max_payload", 0, "1 on"),
        ("max_payload", "1 MB", "'1 MB'"),
        ("max_payload", 1e6, "1000000.0"),
        ("wait_replicas", -1, "0 on"),
        ("wait_replicas", True, "True"),
        ("wait_replicas", "1", "'1'"),
        ("wait_timeout", 0, "0.001 s to 4 s"),
        ("wait_timeout", 4.5, "4 s"),
        ("wait_timeout", "1", "timedelta"),
        ("wait_timeout", float("nan"), "nan"),
        ("unknown_task_patience", -1, "0 s"),
        ("unknown_task_patience", "1h", "'1h'"),
        ("unknown_task_patience", float("nan"), "nan"),
        ("task_aliases", ["shop.old"], "a dict of old names of tasks to new ones"),
        ("task_aliases", {"shop.old": None}, "{'shop.old': None}"),
        ("task_aliases", {"shop.old": ""}, "{'shop.old': ''}"),
        ("task_aliases", {"a": "a"}, "none of which leads back to itself"),
        ("task_aliases", {"x": "a", "a": "b", "b": "c", "c": "a"}, "none of which leads back to itself"),
        ("eviction_check", "fail", "ignore, warn, error"),
        ("eviction_check", True, "True"),
        ("eviction_check", [], "[]"),
        ("url", "sentinel://there:26379", "master_name"),
        ("url", "sentinel://there:26379/0?master_name=", "master_name"),
        ("url", "sentinel://?master_name=m", "host[:port]"),
        ("url", "sentinel://one,,two?master_name=m", "host[:port]"),
        ("url", "sentinel://one:port?master_name=m", "host[:port]"),
        ("url", "sentinel://one:99999?master_name=m", "host[:port]"),
        ("url", "sentinel://one/zero?master_name=m", "/database"),
        ("url", "sentinel://one;redis://two?master_name=m", "host[:port]"),
        ("url", "sentinel://one?master_name=m&min_other_sentinels=some", "min_other_sentinels"),
        ("url", "sentinel://one?master_name=m&socket_timeout=soon", "socket_timeout"),
        ("url", "sentinel://one?master_name=m&no_such_option=1", "'no_such_option'"),
        ("url", "sentinel://one?master_name=m&sentinel_no_such_option=1", "'sentinel_no_such_option'"),
    ],
)
def test_a_setting_of_a_wrong_type_or_out_of_range_is_an_error_that_names_it(configured, form, name, value, words):
    conf, given, namespace = {"dtimer_url": "redis://there", f"dtimer_{name}": value}, {}, None
    if form == "namespaced":
        conf = {f"CELERY_{key.upper()}": value for key, value in conf.items()}
        namespace = "CELERY"
    elif form == "install":
        given = {name: value}
    with pytest.raises(SettingsError) as caught:
        configured(namespace, given, **conf)
    assert f"dtimer_{name}" in str(caught.value)
    assert words in str(caught.value)
    assert caught.value.setting == f"dtimer_{name}"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("dtimer_ulr", "did you mean dtimer_url?"),
        ("dtimer_max_event", "did you mean dtimer_max_events?"),
        ("dtimer_confirmtimeout", "did you mean dtimer_confirm_timeout?"),
        ("dtimer_redis_url_of_the_timer", "there are dtimer_url, dtimer_namespace, dtimer_max_events"),
    ],
)
def test_an_unknown_setting_is_an_error_with_a_hint(configured, name, hint):
    for namespace, given, conf in [
        (None, {}, {name: 1, "dtimer_url": "redis://there"}),
        ("CELERY", {}, {f"CELERY_{name.upper()}": 1, "CELERY_DTIMER_URL": "redis://there"}),
        (None, {name.removeprefix("dtimer_"): 1}, {"dtimer_url": "redis://there"}),
    ]:
        with pytest.raises(SettingsError) as caught:
            configured(namespace, given, **conf)
        assert hint in str(caught.value)
        assert name in str(caught.value)
        assert caught.value.setting == name


def test_other_settings_of_the_app_are_none_of_ours(configured):
    conf = {"timezone": "Asia/Tokyo", "my_dtimer_thing": 1, "dtimer": 2, "dtimers": 3}
    assert configured(dtimer_url="redis://there", **conf).url == "redis://there"


# --- the broker's URL, where there is no dtimer_url


@pytest.mark.parametrize(
    ("broker", "url"),
    [
        ("redis://there:1/2", "redis://there:1/2"),
        ("redis://", "redis://127.0.0.1:6379"),
        ("rediss://there:1/2?ssl_cert_reqs=required", "rediss://there:1/2"),
        ("redis+socket:///run/redis.sock", "unix:///run/redis.sock"),
        ("redis+socket:///run/redis.sock?virtual_host=3", "unix:///run/redis.sock?db=3"),
        ("redis://one:1;redis://two:2", "redis://one:1"),
        (["redis://one:1", "redis://two:2"], "redis://one:1"),
        (("redis://one:1", "amqp://two"), "redis://one:1"),
    ],
)
def test_a_broker_that_is_a_redis_is_the_timers_too(configured, broker, url):
    assert configured(broker_url=broker).url == url


def test_the_brokers_url_may_come_from_the_environment(configured, monkeypatch):
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://from-environment:1/2")
    assert configured().url == "redis://from-environment:1/2"
    assert configured(dtimer_url="redis://own").url == "redis://own"


@pytest.mark.parametrize("ssl_cert_reqs", ["CERT_NONE", "CERT_OPTIONAL", "CERT_REQUIRED", "none", "required"])
def test_celerys_own_way_to_say_what_certificates_are_required_is_understood(configured, ssl_cert_reqs):
    for conf in (
        {"broker_url": f"rediss://there:1/0?ssl_cert_reqs={ssl_cert_reqs}"},
        {"dtimer_url": f"rediss://there:1/0?ssl_cert_reqs={ssl_cert_reqs}"},
    ):
        app = Celery("shop", set_as_current=False)
        try:
            app.conf.update(conf)
            install(app)
            connection = get_timer(app).shards[0].server.client.connection_pool.make_connection()
            wanted = f"CERT_{ssl_cert_reqs.upper().removeprefix('CERT_')}"
            assert connection.cert_reqs.name == wanted
        finally:
            app.close()


@pytest.mark.parametrize(
    ("broker", "named"),
    [
        ("amqp://guest@there//", "amqp://guest@there//"),
        ("pyamqp://there", "pyamqp://there"),
        ("sqs://", "sqs://"),
        ("memory://", "memory://"),
        (["amqp://one", "redis://two"], "amqp://one"),
        ([], "amqp"),
        (None, "amqp"),
    ],
)
def test_with_another_broker_the_url_is_required(configured, broker, named):
    with pytest.raises(SettingsError) as caught:
        configured(broker_url=broker)
    assert caught.value.setting == "dtimer_url"
    assert named in str(caught.value) or broker in (None, [])
    assert "dtimer_url" in str(caught.value)
    assert "redis://" in str(caught.value)


def test_a_redis_whose_transport_kombu_cannot_load_is_not_called_another_broker(configured, monkeypatch):
    # What celery lacks without its extra "redis": packaging, say.
    monkeypatch.setitem(sys.modules, "kombu.transport.redis", None)
    monkeypatch.delitem(_transport_cache, "redis", raising=False)
    with pytest.raises(SettingsError, match=r"can't load .* \(redis://there\): .*pip install 'celery\[redis\]'"):
        configured(broker_url="redis://there")


# --- what kombu knows of a broker outside of its URL


READ_AND_WRITE = ("broker_read_url", "broker_write_url")


#: Whether a broker's URL may name a credential provider: kombu 5.5 does not know it.
KOMBU_HAS_PROVIDERS = "credential_provider" in inspect.signature(kombu.Connection).parameters


class Provider:
    """As AWS and Azure have them: a password that is new at each connection."""

    def get_credentials(self):
        return ("user", "token")


@pytest.mark.parametrize(
    ("conf", "url", "options"),
    [
        ({"broker_url": "redis://there", "broker_vhost": "5"}, "redis://there:6379/5", {}),
        ({"broker_url": "redis://there", "broker_vhost": "/5"}, "redis://there:6379/5", {}),
        ({"broker_url": "redis://there/2", "broker_vhost": "5"}, "redis://there:6379/2", {}),
        ({"broker_url": "redis://there", "broker_port": 1, "broker_user": "u"}, "redis://there:1", {"username": "u"}),
        (
            {"broker_url": "redis://u:p%2F@there", "broker_password": "x"},
            "redis://there:6379",
            {"username": "u", "password": "p/"},
        ),
        ({"broker_url": "redis://there", "broker_password": "p"}, "redis://there:6379", {"password": "p"}),
        ({"broker_transport": "redis", "broker_host": "there", "broker_vhost": 3}, "redis://there:6379/3", {}),
        ({"broker_transport": "kombu.transport.redis:Transport", "broker_url": "there"}, "redis://there:6379", {}),
        ({"broker_url": "redis://[::1]:1/2"}, "redis://[::1]:1/2", {}),
        ({"broker_url": "rediss://there"}, "rediss://there:6379", {"ssl_cert_reqs": ssl.CERT_NONE}),
        (
            {"broker_url": "redis://there", "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_OPTIONAL}},
            "rediss://there:6379",
            {"ssl_cert_reqs": ssl.CERT_OPTIONAL},
        ),
        ({"broker_url": "redis+socket://u:p@/run/r.sock"}, "unix:///run/r.sock", {"username": "u", "password": "p"}),
        ({"broker_url": "redis+socket:///run/r.sock", "broker_vhost": "4"}, "unix:///run/r.sock?db=4", {}),
        ({"broker_read_url": "redis://there", "broker_write_url": "redis://there"}, "redis://there:6379", {}),
        ({"broker_url": "amqp://x", **dict.fromkeys(READ_AND_WRITE, "redis://a")}, "redis://a:6379", {}),
        (
            {
                "broker_url": "sentinel://:p@one:1/2;sentinel://two",
                "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_NONE},
                "broker_transport_options": {"master_name": "m", "sentinel_kwargs": {"password": "q"}},
            },
            "sentinel://one:1,two:26379/2?master_name=m&ssl=true",
            {"ssl_cert_reqs": ssl.CERT_NONE, "password": "p", "sentinel_password": "q"},
        ),
    ],
)
def test_what_kombu_knows_of_a_broker_is_taken_over(configured, conf, url, options):
    settings = configured(**conf)
    assert (settings.url, dict(settings.options)) == (url, options)
    connect(settings.url, settings.options)


def test_the_timer_connects_as_kombu_does(configured):
    conf = {"broker_url": "rediss://u@there:1/2", "broker_password": "p"}
    conf["broker_use_ssl"] = {"ssl_cert_reqs": ssl.CERT_NONE}
    settings = configured(**conf)
    ours = connect(settings.url, settings.options).client.connection_pool.connection_kwargs
    app = Celery("native", set_as_current=False)
    app.conf.update(conf)
    with app.connection_for_write() as connection:
        channel = object.__new__(connection.get_transport_cls().Channel)
        channel.connection = SimpleNamespace(client=connection, default_port=6379)
        natively = channel._connparams()
    app.close()
    for name in ("host", "port", "db", "username", "password", "ssl_cert_reqs"):
        assert ours[name] == natively[name], name


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"broker_url": "redis://there", "broker_vhost": "shop"}, "broker_vhost"),
        ({"broker_url": "redis://there/s3cret@host"}, "virtual host"),
        ({"broker_url": "redis://there", "broker_use_ssl": True}, "broker_use_ssl must be a dict"),
        ({"broker_url": "redis://there", "broker_use_ssl": {"ca_certs": "/x"}}, "'ca_certs'"),
        ({"broker_url": "redis://there", "broker_use_ssl": {"ssl_ca_certs": "/nowhere"}}, "no file"),
        ({"broker_url": "redis://there", "broker_password": lambda: "s3cret"}, "broker_password"),
        ({"broker_url": "redis://there?socket_timeout=5"}, "kombu"),
        ({"broker_url": "redis://:s3cret@there:port"}, "kombu"),
        ({"broker_url": "redis://there", "broker_port": "some"}, "there:some"),
        ({"broker_url": "redis://there", "broker_port": 99999}, "99999"),
        ({"broker_url": "redis+redis://there"}, "kombu"),
        ({"broker_read_url": "redis://one", "broker_write_url": "redis://two"}, "broker_read_url and broker_write_url"),
        ({"broker_read_url": "redis://a:s3cret@one", "broker_write_url": "redis://b:s3cret@one"}, "differ"),
        ({"broker_url": "redis://there?credential_provider=no.such.Provider"}, "no.such.Provider"),
        ({"dtimer_url": "redis://:p@there?credential_provider=redis.credentials.CredentialProvider"}, "only one"),
        ({"broker_url": "redis://there?credential_provider=datetime:datetime.today"}, "credential_provider"),
        ({"broker_url": "redis://there?credential_provider=collections.OrderedDict"}, "OrderedDict"),
        ({"dtimer_url": "redis://there?credential_provider=no.such.Provider"}, "no.such.Provider"),
        ({"dtimer_url": "redis://there?credential_provider=collections.OrderedDict&db=1"}, "OrderedDict"),
    ],
)
def test_what_cannot_be_taken_over_is_an_error_that_says_what_to_set(configured, conf, words):
    with pytest.raises(SettingsError) as caught:
        configured(**conf)
    if "credential_provider" in conf.get("broker_url", "") and not KOMBU_HAS_PROVIDERS:
        words = "kombu can't read broker_url"
    assert words in str(caught.value)
    assert "set dtimer_url" in str(caught.value) or "dtimer_url" in conf
    assert caught.value.setting == "dtimer_url"
    assert SECRET not in "".join(chain(caught.value))


@pytest.mark.parametrize("name", ["dtimer_url", *["broker_url"] * KOMBU_HAS_PROVIDERS])
@pytest.mark.parametrize("query", ["", "&db=3"])
def test_a_credential_provider_is_asked_at_each_connection(configured, monkeypatch, name, query):
    if name == "broker_url" and query:
        query = ""  # kombu takes no other option there
    monkeypatch.setitem(sys.modules, "of_the_cloud", SimpleNamespace(Provider=Provider))
    # For kombu, it goes before user and password.
    user = "old:password@" if name == "broker_url" else ""
    settings = configured(**{name: f"redis://{user}there/2?credential_provider=of_the_cloud.Provider{query}"})
    connection = connect(settings.url, settings.options).client.connection_pool.make_connection()
    assert (connection.username, connection.password) == (None, None)
    assert connection.credential_provider.get_credentials() == ("user", "token")
    assert connection.db == (3 if query else 2)


@pytest.mark.parametrize("returned", [None, "token", (), (1,), ("a", "b", "c"), ZeroDivisionError("s3rvice")])
def test_a_credential_provider_that_fails_is_a_redis_that_does_not_answer(redis_url, returned):
    class Broken(Provider):
        def get_credentials(self):
            if isinstance(returned, Exception):
                raise returned
            return returned

    servers = connect(redis_url, {"credential_provider": Broken()})
    shards = Shards(servers, "dt", 1)
    with pytest.raises(TimerUnavailableError, match="Broken"):
        shards.of("some-id").peek("some-id")
    servers.close()


# --- a key prefix, by which kombu keeps fleets apart


@pytest.mark.parametrize(
    ("prefix", "namespace"),
    [
        ("staging_", "staging_dt"),
        ("prod:", "prod%3Adt"),
        ("{prod}:", "%7Bprod%7D%3Adt"),
        ("a b", "a%20bdt"),
        ("ü", "%C3%BCdt"),
        ("a%3A", "a%253Adt"),
        ("", "dt"),
        (None, "dt"),
    ],
)
def test_a_key_prefix_of_the_broker_makes_the_default_namespace(configured, prefix, namespace):
    options = {"global_keyprefix": prefix}
    assert configured(broker_url="redis://there", broker_transport_options=options).namespace == namespace
    # Another Redis of the timer's own may be another fleet's too.
    conf = {"broker_url": "redis://there", "dtimer_url": "redis://own"}
    assert configured(broker_transport_options=options, **conf).namespace == namespace
    assert configured(broker_transport_options=options, dtimer_namespace="dt", **conf).namespace == "dt"
    # Other transports know no such prefix.
    conf = {"broker_url": "amqp://there", "dtimer_url": "redis://own"}
    assert configured(broker_transport_options=options, **conf).namespace == "dt"


def test_a_key_prefix_that_is_too_long_for_a_namespace_asks_for_one(configured):
    conf = {"broker_url": "redis://there", "broker_transport_options": {"global_keyprefix": "x" * 99}}
    with pytest.raises(SettingsError, match="set dtimer_namespace") as caught:
        configured(**conf)
    assert caught.value.setting == "dtimer_namespace"
    assert configured(dtimer_namespace="mine", **conf).namespace == "mine"


# --- how names are spelled


@pytest.mark.parametrize("name", RIGHT)
def test_a_setting_in_capitals_is_read_where_the_app_has_no_namespace(configured, name):
    conf = {"BROKER_URL": "redis://there", f"DTIMER_{name.upper()}": RIGHT[name]}
    assert getattr(configured(**conf), name) == RIGHT[name]


@pytest.mark.parametrize(
    ("namespace", "name", "words"),
    [
        ("CELERY", "DTIMER_TAKEOVER", "write CELERY_DTIMER_TAKEOVER"),
        ("SHOP", "DTIMER_TAKEOVER", "write SHOP_DTIMER_TAKEOVER"),
        ("SHOP", "CELERY_DTIMER_TAKEOVER", "write SHOP_DTIMER_TAKEOVER"),
        (None, "CELERY_DTIMER_TAKEOVER", "write dtimer_takeover"),
        (None, "celery_dtimer_takeover", "write dtimer_takeover"),
        (None, "DTIMER_TAKEOVR", "did you mean dtimer_takeover?"),
        ("CELERY", "CELERY_DTIMER_TAKEOVR", "did you mean dtimer_takeover?"),
    ],
)
def test_a_setting_that_is_not_read_is_an_error_in_a_process_that_only_calls_tasks(make_app, namespace, name, words):
    app = make_app(installed=False)
    app.config_from_object(SimpleNamespace(**{name: 60}), namespace=namespace)
    install(app)

    @app.task
    def job(): ...

    with pytest.raises(SettingsError, match=re.escape(words)):
        job.apply_async(countdown=3600)


def test_a_setting_that_is_made_twice_is_an_error_and_one_set_later_goes_before(configured, make_app):
    with pytest.raises(SettingsError, match="are the same setting"):
        configured(dtimer_url="redis://there", DTIMER_URL="redis://here")
    app = make_app(installed=False)
    app.config_from_object(SimpleNamespace(DTIMER_URL="redis://module"))
    install(app)
    app.conf.dtimer_url = "redis://set"
    assert extension_of(app).settings.url == "redis://set"


def test_what_a_module_of_settings_imports_is_no_setting(configured):
    assert configured(dtimer_url="redis://there", dtimer_task=dtimer_task, celery_dtimer=celery_dtimer)


# --- sentinels


@pytest.mark.parametrize(
    "broker",
    [
        "sentinel://user:p%2Fw@one:1/2;sentinel://user:p%2Fw@two/2",
        ["sentinel://user:p%2Fw@one:1/2", "sentinel://user:p%2Fw@two/2"],
    ],
)
def test_a_broker_behind_sentinels_is_the_timers_too_with_what_its_transport_options_say(configured, broker):
    options = {"master_name": "m", "min_other_sentinels": 1, "visibility_timeout": 60}
    options["sentinel_kwargs"] = {"password": "a&b", "socket_timeout": 0.5, "username": None, "ssl": True}
    options["sentinel_kwargs"]["ssl_cert_reqs"] = ssl.CERT_OPTIONAL
    settings = configured(broker_url=broker, broker_transport_options=options)
    pool = connect(settings.url, settings.options).client.connection_pool
    assert pool.service_name == "m"
    assert pool.connection_kwargs["username"] == "user"
    assert pool.connection_kwargs["password"] == "p/w"
    assert pool.connection_kwargs["db"] == 2
    assert pool.sentinel_manager.min_other_sentinels == 1
    of_sentinels = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    assert [(options["host"], options["port"]) for options in of_sentinels] == [("one", 1), ("two", 26379)]
    assert [(options["password"], options["socket_timeout"]) for options in of_sentinels] == [("a&b", 0.5)] * 2
    connection = pool.sentinel_manager.sentinels[0].connection_pool.make_connection()
    assert connection.cert_reqs is ssl.CERT_OPTIONAL


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({}, "master_name"),
        ({"broker_transport_options": {"master_name": "m"}, "broker_use_ssl": True}, "broker_use_ssl"),
        ({"broker_transport_options": {"master_name": "m", "sentinel_kwargs": [1]}}, "sentinel_kwargs"),
    ],
)
def test_a_broker_behind_sentinels_that_cannot_be_taken_over_is_an_error_that_says_why(configured, conf, words):
    with pytest.raises(SettingsError, match=words) as caught:
        configured(broker_url=f"sentinel://:{SECRET}@there:1;sentinel://:{SECRET}@here:1", **conf)
    assert caught.value.setting == "dtimer_url"
    assert SECRET not in "".join(chain(caught.value))


def test_a_sentinel_url_has_hosts_and_options_of_both_kinds_of_server():
    url = (
        "sentinel://:pw@one:1,[::1]:2,three/4?master_name=m&ssl=true&ssl_cert_reqs=none&sentinel_ssl=true&client_name=c"
    )
    pool = connect(url).client.connection_pool
    assert pool.connection_class.__mro__[-1] is object
    connection = pool.make_connection()
    assert connection.cert_reqs is ssl.CERT_NONE
    assert (pool.connection_kwargs["db"], pool.connection_kwargs["client_name"]) == (4, "c")
    sentinels = [sentinel.connection_pool for sentinel in pool.sentinel_manager.sentinels]
    assert [p.connection_kwargs["host"] for p in sentinels] == ["one", "::1", "three"]
    assert [p.connection_kwargs["port"] for p in sentinels] == [1, 2, 26379]
    assert all("SSL" in p.connection_class.__name__ for p in sentinels)
    assert all(not p.connection_kwargs.get("password") for p in sentinels)


# --- passwords

SECRET = "s3cret"


def chain(error):
    """All that a traceback of an error would show of it and of its causes, and its attributes."""
    while error is not None:
        yield str(error)
        yield repr(vars(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize(
    "conf",
    [
        {"dtimer_url": f"amqp://user:{SECRET}@there"},
        {"dtimer_url": f"redis://user:{SECRET}@there:port/0"},
        {"dtimer_url": f"redis://:{SECRET}@there:99999/0"},
        {"dtimer_url": f"redis://:{SECRET}/with/slash@there:6379/0"},
        {"dtimer_url": f"redis://:{SECRET}#with-hash@there:6379/0"},
        {"dtimer_url": f"redis://:{SECRET}?with-question@there:6379/0"},
        {"dtimer_url": f"redis://:with@{SECRET}@there:port/0"},
        {"dtimer_url": f"redis://:{SECRET}@[there"},
        {"dtimer_url": f"redis://there:port/0?password={SECRET}"},
        {"dtimer_url": f"amqp://there?password={SECRET}&db=0"},
        {"dtimer_url": f"user:{SECRET}@there"},
        {"dtimer_url": f"redis://:{SECRET}@there".encode()},
        {"dtimer_url": [f"redis://:{SECRET}@there"]},
        {"dtimer_url": f"redis://:{SECRET}@there?socket_timeout=soon"},
        {"broker_url": f"amqp://user:{SECRET}@there//"},
        {"broker_url": [f"amqp://user:{SECRET}@one", f"amqp://user:{SECRET}@two"]},
        {"broker_url": f"amqp://user:{SECRET}@one;amqp://user:{SECRET}@two"},
        {"broker_url": f"sentinel://:{SECRET}@one:26379;sentinel://:{SECRET}@two:26379"},
        {"dtimer_url": f"sentinel://:{SECRET}@one:26379;sentinel://:{SECRET}@two:26379"},
        {"dtimer_url": f"sentinel://:{SECRET}@one,two:port?master_name=m"},
        {"dtimer_url": f"sentinel://:{SECRET}/slash@one,two?master_name=m"},
        {"dtimer_url": f"sentinel://:{SECRET}?question@one,two?master_name=m"},
        {"dtimer_url": f"sentinel://one?sentinel_password={SECRET}"},
        {"dtimer_url": f"sentinel://one?master_name=m&sentinel_password={SECRET}&nothing=1"},
    ],
)
def test_no_password_is_in_any_text_of_an_error(configured, conf):
    with pytest.raises(DTimerError) as caught:
        configured(**conf)
    for text in chain(caught.value):
        assert SECRET not in text


def test_settings_do_not_show_the_password_when_they_are_printed(configured):
    settings = configured(dtimer_url=f"redis://user:{SECRET}@there:1/2")
    assert settings.url == f"redis://user:{SECRET}@there:1/2"
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://there:1/2", "redis://there:1/2"),
        ("redis://user@there", "redis://user@there"),
        ("redis://:pass@there:1/2", "redis://:**@there:1/2"),
        ("redis://user:pass@there:1/2?db=3", "redis://user:**@there:1/2?db=3"),
        ("unix://user:pass@/run/redis.sock?db=1", "unix://user:**@/run/redis.sock?db=1"),
        ("redis://there/0?db=1&password=pass&x=1", "redis://there/0?db=1&password=**&x=1"),
        ("sentinel://:pass@one,two?sentinel_password=pass", "sentinel://:**@one,two?sentinel_password=**"),
        ("sentinel://:pass@one;sentinel://:pass@two/1", "sentinel://:**@one;sentinel://:**@two/1"),
        ("redis://:pass@one;redis://:pass@two", "redis://:**@one;redis://:**@two"),
        ("redis://:p@ss@there", "redis://:**@there"),
        ("redis://:pa/ss@there", "redis://**"),
        ("redis://there?PASSWORD=pass&%70assword=pass&x=1", "redis://there?PASSWORD=**&%70assword=**&x=1"),
        ("redis://there?password=pa&ss&=x", "redis://there?password=**&**&**"),
        ("redis://there:1?ssl_password=p@ss&auth_token=pass", "redis://there:1?ssl_password=**&auth_token=**"),
    ],
)
def test_a_url_is_shown_without_its_password_and_otherwise_as_it_is(url, shown):
    assert without_password(url) == shown


@trials(max_examples=300, deadline=None)
@each(st.text("ab@/?#:;&[]% ,", max_size=8), st.sampled_from(["user", ""]))
def test_no_part_of_any_password_is_shown(middle, user):
    password = f"XQ{middle}ZJ"
    for url in (
        f"redis://{user}:{password}@there:1/0",
        f"sentinel://{user}:{password}@one;sentinel://{user}:{password}@two?master_name=m",
        f"redis://{user}:{password}@there?password={quote(password)}",
        f"redis://there?PassWord={quote_plus(password)}&db=1",
        f"rediss://there:1/0?db=1&ssl_password={password}",
    ):
        assert not re.search("XQ|ZJ", without_password(url)), url
