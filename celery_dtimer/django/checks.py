"""What ``manage.py check`` says about the timer."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name

from celery_dtimer.celery_patches.apps import installed_apps
from celery_dtimer.errors import SettingsError
from celery_dtimer.extension import extension_of
from celery_dtimer.settings import NAMES, PREFIX

#: Names of the checks' messages, for SILENCED_SYSTEM_CHECKS.
NO_APP, WRONG, IN_LOWERCASE = "dtimer.W001", "dtimer.E001", "dtimer.E002"


@register("dtimer")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Look at the settings of every Celery app that has a timer."""
    found = [*_in_lowercase()]
    apps = installed_apps()
    if not apps:
        found.append(
            Warning(
                "No Celery app of this process has a timer: its tasks have no post_in_on_commit.",
                hint="Call celery_dtimer.install(app) where it is made, and import that in the project's __init__.py.",
                id=NO_APP,
            )
        )
    for app in apps:
        try:
            _checked = extension_of(app).settings
        except SettingsError as exc:
            written = f"{app.namespace}_{exc.setting}".upper() if app.namespace else exc.setting
            found.append(Error(str(exc), hint=f"Its name in the settings is {written}.", obj=app.main, id=WRONG))
    return found


def _in_lowercase() -> Iterator[CheckMessage]:
    """Yield an error for each setting that Django leaves out of the project's for its small letters."""
    namespace = next((app.namespace for app in installed_apps() if app.namespace), "CELERY")
    module = sys.modules.get(getattr(settings, "SETTINGS_MODULE", None) or "")
    for name, value in vars(module).items() if module else ():
        low = name.lower()
        if PREFIX not in low or name.isupper() or callable(value) or isinstance(value, ModuleType):
            continue
        if low.partition(PREFIX)[2] in NAMES:
            right = f"{namespace}_{PREFIX}{low.partition(PREFIX)[2]}".upper()
            yield Error(
                f"{name} is not read: Django reads settings in capitals only.", hint=f"Write {right}.", id=IN_LOWERCASE
            )
