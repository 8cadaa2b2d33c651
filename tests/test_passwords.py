"""No password of dtimer_url is shown wherever Celery hides its own, in every form in which one can be given."""

import json
import logging
import os
import subprocess
import sys
import traceback
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from celery import Celery
from rig.ports import HOST, free_port
from rig.recipes import IMPORTED
from rig.waiting import wait_until

import celery_dtimer
from celery_dtimer import DTimer, DTimerError, get_timer
from celery_dtimer.extension import extension_of

PASSWORD = "s3cret/p@ss+w%rd"
SECRETS = (PASSWORD, quote(PASSWORD, safe=""), "s3cret")


class Url:
    """A URL as some libraries have it."""

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text

    def __repr__(self):
        return f"Url({self.text!r})"


def urls(port):
    """Every way in which a URL has a password: of this server where it is one, and of none."""
    encoded = quote(PASSWORD, safe="")
    return {
        "userinfo": f"redis://:{encoded}@{HOST}:{port}/0",
        "user": f"redis://default:{encoded}@{HOST}:{port}/0",
        "option": f"redis://{HOST}:{port}/0?password={encoded}",
        "option behind others": f"redis://{HOST}:{port}/0?client_name=c&password={encoded}&db=0",
        "encoded option": f"redis://{HOST}:{port}/0?%70assword={encoded}",
        "capitals": f"redis://{HOST}:{port}/0?PASSWORD={encoded}",
        "misspelt": f"redis://{HOST}:{port}/0?pasword=x&passwort={encoded}",
        "not encoded": f"redis://:{PASSWORD}@{HOST}:{port}/0",
        "sentinel": f"sentinel://:{encoded}@{HOST}:{port},{HOST}:1?master_name=m&sentinel_password={encoded}",
        "sentinels": f"sentinel://:{encoded}@{HOST}:{port};sentinel://:{encoded}@{HOST}:1?master_name=m",
        "cluster": f"redis+cluster://:{encoded}@{HOST}:{port},{HOST}:1",
        "tls": f"rediss://:{encoded}@{HOST}:{port}?ssl_password={encoded}",
        "list": [f"redis://:{encoded}@{HOST}:{port}/0"],
        "tuple": (f"redis://:{encoded}@{HOST}:{port}/0", f"redis://:{encoded}@{HOST}:1"),
        "text of many": f"redis://:{encoded}@{HOST}:{port};redis://:{encoded}@{HOST}:1",
        "bytes": f"redis://:{encoded}@{HOST}:{port}/0".encode(),
        "dict": {"url": f"redis://:{encoded}@{HOST}:{port}/0"},
        "object": Url(f"redis://:{encoded}@{HOST}:{port}/0"),
        "another scheme": f"http://:{encoded}@{HOST}:{port}",
    }


def hidden_in(text):
    """Whether a text has none of the secrets."""
    return not any(secret in text for secret in SECRETS)


def told(error):
    """All that an error shows: itself, its attributes, what it was raised from, and its traceback."""
    while error is not None:
        yield from (str(error), repr(error), repr(vars(error)), repr(error.args))
        yield "".join(traceback.format_exception_only(error))
        error = error.__cause__ or error.__context__


@pytest.fixture
def server(start_redis):
    return start_redis(options={"requirepass": PASSWORD})


@pytest.mark.parametrize("way", ["lowercase", "capitals", "namespaced", "misspelt name", "install"])
def test_in_this_process(make_app, caplog, way):
    caplog.set_level(logging.DEBUG)
    shown = {}
    for form, url in urls(free_port()).items():
        name = {"lowercase": "dtimer_url", "capitals": "DTIMER_URL", "misspelt name": "dtimer_ulr"}.get(way)
        conf = {name or "CELERY_DTIMER_URL": url} if way != "install" else {}
        app = make_app(form, installed=False)
        app.config_from_object(SimpleNamespace(**conf), namespace="CELERY" if way == "namespaced" else None)
        celery_dtimer.install(app, **({"url": url} if way == "install" else {}))
        shown[form] = [*what_an_app_shows(app), *what_is_told_of(lambda url=url: DTimer(url))]
        shown[form] += what_is_told_of(lambda url=url: DTimer(url).peek("some-id"))
        shown[form] += [record.getMessage() for record in caplog.records]
        caplog.clear()
    assert len(shown) > 15
    assert {form: text for form, texts in shown.items() for text in texts if not hidden_in(text)} == {}


def what_an_app_shows(app):
    @app.task
    def job(): ...

    yield from (repr(extension_of(app)), app.conf.humanize(), app.conf.humanize(with_defaults=True), app.bugreport())
    yield repr(app.conf.table())
    for attempt in (
        lambda: extension_of(app).settings,
        lambda: extension_of(app)._reading,
        lambda: extension_of(app).shards,
        lambda: extension_of(app).shards.servers,
        lambda: get_timer(app),
        lambda: job.post((), delay=60, retry=False),
        lambda: get_timer(app).peek("some-id"),
    ):
        yield from what_is_told_of(attempt)


def what_is_told_of(attempt):
    try:
        return [repr(attempt())]
    except DTimerError as exc:
        return list(told(exc))


def test_a_broker_that_is_shared(make_app):
    app = make_app(broker=f"redis://:{quote(PASSWORD, safe='')}@{HOST}:{free_port()}/0")
    extension = extension_of(app)
    shown = [repr(extension.settings), repr(extension.shards), repr(extension.shards.servers), repr(extension._reading)]
    try:
        get_timer(app).peek("some-id")
    except DTimerError as exc:
        shown.extend(told(exc))
    assert [text for text in shown if not hidden_in(text)] == []


class TestOfWorkers:
    @pytest.fixture
    def app_file(self, tmp_path):
        file = tmp_path / "secretive.py"
        file.write_text(
            "import json, os\n"
            "from celery import Celery\n"
            "import celery_dtimer\n"
            "app = Celery('proj', broker=os.environ['BROKER_URL'], backend=os.environ['RESULT_BACKEND'])\n"
            "app.conf.update(json.loads(os.environ.get('CONF', '{}')), broker_connection_retry_on_startup=True)\n"
            "celery_dtimer.install(app, **json.loads(os.environ.get('GIVEN', '{}')))\n"
            "@app.task\n"
            "def job(): return 'ran'\n",
            encoding="utf-8",
        )
        return file

    @pytest.fixture
    def celery(self, worker_app):
        def run(*arguments, **environment):
            path = os.pathsep.join([IMPORTED, os.environ.get("PYTHONPATH", "")])
            done = subprocess.run(
                [sys.executable, "-m", "celery", "-A", "proj", *arguments],
                cwd=worker_app.folder,
                env={**os.environ, "PYTHONPATH": path, **worker_app.environment, **environment},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            return done.stdout + done.stderr

        return run

    @pytest.mark.slow
    @pytest.mark.timeout(180)
    @pytest.mark.parametrize(("setting", "form"), [("CONF", "userinfo"), ("GIVEN", "option behind others")])
    def test_of_a_timer_that_works_fails_and_works_again(self, celery, start_worker, server, setting, form):
        url = urls(server.port)[form]
        environment = {setting: json.dumps({"dtimer_url" if setting == "CONF" else "url": url})}
        worker = start_worker(pool="threads", env=environment, arguments=("--without-mingle", "--loglevel=DEBUG"))
        shown = [celery("report", **environment)]
        for what in ("conf", "report", "stats"):
            shown.append(celery("inspect", what, **environment))
            assert worker.hostname() in shown[-1], shown[-1]
        if setting == "CONF":
            for text in shown[:3]:
                assert "dtimer_url" in text
                assert f"{HOST}:{server.port}" in text
        server.stop()
        wait_until(lambda: "the timer's Redis failed" in worker.logs(), "the outage", 30)
        shown += [celery("dtimer", "upcoming", **environment), celery("inspect", "stats", **environment)]
        server.start()
        wait_until(lambda: "the timer's Redis answers again" in worker.logs(), "the end of it", 30)
        worker.term()
        worker.wait()
        shown.append(worker.logs())
        assert [text for text in shown if not hidden_in(text)] == []

    @pytest.mark.timeout(120)
    @pytest.mark.slow
    def test_of_a_worker_that_does_not_start(self, celery):
        for form in ("capitals", "list"):
            environment = {"CONF": json.dumps({"dtimer_url": urls(1)[form]})}
            shown = celery("worker", "-l", "DEBUG", "-P", "solo", **environment)
            assert "SettingsError" in shown
            assert hidden_in(shown)


def test_celery_hides_and_shows_all_else_as_before(make_app):
    app = make_app(installed=False)
    app.conf.update(
        my_url="redis://:shown@there", my_secret_key="x", dtimer_takeover=5, nested={"dtimer_url": "redis://:p@h"}
    )
    plain = Celery("plain", set_as_current=False)
    celery_dtimer.install(plain)
    celery_dtimer.install(plain)
    table = app.conf.table()
    assert (table["my_url"], table["my_secret_key"], table["dtimer_takeover"]) == (
        "redis://:shown@there",
        "********",
        5,
    )
    assert table["nested"] == {"dtimer_url": "redis://:**@h"}
    plain.close()
