"""``manage.py check`` says what is wrong with the settings, and how they are written in Django's."""

import sys
import types

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError


@pytest.fixture
def django_settings(make_app):
    """Gives an app the settings of a module, as ``config_from_object`` reads those of Django."""

    def configure(**values):
        app = make_app("store")
        module = types.SimpleNamespace(**values)
        app.config_from_object(module, namespace="CELERY", force=True)
        return [message for message in run_checks(tags=["dtimer"]) if message.obj == "store"]

    return configure


def test_settings_that_are_right_say_nothing(django_settings):
    assert django_settings(CELERY_DTIMER_URL="redis://localhost:1/0", CELERY_DTIMER_CONFIRM_TIMEOUT=30) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CELERY_DTIMER_CONFIRM_TIMEOUT", "soon", "dtimer_confirm_timeout must be"),
        ("CELERY_DTIMER_MAX_EVENT", 3, "did you mean dtimer_max_events?"),
        ("DTIMER_SHARDS", 3, "write CELERY_DTIMER_SHARDS"),
        ("CELERY_DTIMER_URL", "http://localhost", "dtimer_url"),
    ],
)
def test_a_wrong_setting_is_an_error(django_settings, name, value, said):
    [message] = django_settings(**{"CELERY_DTIMER_URL": "redis://localhost:1/0", name: value})
    assert message.id == "dtimer.E001"
    assert said in message.msg
    assert "CELERY_DTIMER_" in message.hint


def test_manage_py_check_fails_for_it(django_settings):
    django_settings(CELERY_DTIMER_URL="redis://localhost:1/0", CELERY_DTIMER_SHARDS=0)
    with pytest.raises(SystemCheckError, match="CELERY_DTIMER_SHARDS"):
        call_command("check")


def test_a_setting_in_small_letters_is_an_error_since_django_does_not_read_it(monkeypatch, make_app):
    make_app(dtimer_url="redis://localhost:1/0")
    module = types.ModuleType("shop_settings")
    module.dtimer_url = module.celery_dtimer_shards = module.dtimer_unknown = "redis://localhost:1/0"
    module.dtimer_task = len
    monkeypatch.setitem(sys.modules, "shop_settings", module)
    monkeypatch.setattr(settings, "SETTINGS_MODULE", "shop_settings", raising=False)
    messages = [message for message in run_checks(tags=["dtimer"]) if message.id == "dtimer.E002"]
    assert [message.msg.split()[0] for message in messages] == ["dtimer_url", "celery_dtimer_shards"]
    assert [message.hint for message in messages] == ["Write CELERY_DTIMER_URL.", "Write CELERY_DTIMER_SHARDS."]


def test_that_no_app_has_a_timer_is_a_warning(monkeypatch):
    monkeypatch.setattr("celery_dtimer.django.checks.installed_apps", list)
    assert [message.id for message in run_checks(tags=["dtimer"])] == ["dtimer.W001"]
