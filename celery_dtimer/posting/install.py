"""install(app): the one line that an existing fleet adds."""

from typing import Any, TypeVar, Unpack, cast

from celery_dtimer.celery_patches.apps import behind_proxy, for_each_task, name_delivery_in_requests
from celery_dtimer.celery_patches.groups import around_groups
from celery_dtimer.celery_patches.masking import hide_passwords
from celery_dtimer.extension import ATTRIBUTE, Extension
from celery_dtimer.posting.groups import gathering
from celery_dtimer.posting.result import time_results
from celery_dtimer.posting.sending import wrap_send_task
from celery_dtimer.posting.signatures import InstallOptions
from celery_dtimer.posting.task import equip

#: By their names: posting imports neither firing nor operating.
STEPS = ("celery_dtimer.firing.bootstep:DTimerStep", "celery_dtimer.operating.bootstep:OperatingStep")

#: An app: of Celery's class, of one's own, or ``current_app``, which has no class that all type checkers know.
AppT = TypeVar("AppT")


def install(app: AppT, **settings: Unpack[InstallOptions]) -> AppT:
    """Give a Celery app a timer: its workers listen, and its tasks get ``post_in``, ``post_at`` and ``post``.

    Call it where the app is made, before workers start; once more changes nothing but the settings given.

    Args:
        app: The Celery app.
        settings: Settings without their prefix (``url="redis://..."``); they go before the app's configuration.

    Returns:
        The app.

    Raises:
        SettingsError: Later, when the timer is first used or a worker starts, if a setting is wrong.
    """
    app = behind_proxy(app)
    installed = getattr(app, ATTRIBUTE, None)
    if isinstance(installed, Extension):
        installed.give(dict(settings))
        return app
    setattr(app, ATTRIBUTE, Extension(app, dict(settings)))
    hide_passwords()
    cast("Any", app).steps["consumer"].update(STEPS)
    name_delivery_in_requests()
    wrap_send_task(app)
    around_groups(gathering)
    time_results(app)
    for_each_task(app, equip)
    return app
