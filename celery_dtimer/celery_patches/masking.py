"""The password of ``dtimer_url``, hidden wherever Celery hides that of ``broker_url``.

``celery report``, ``inspect conf``, ``inspect report`` and ``app.conf.humanize()`` all show what
``filter_hidden_settings`` in celery/app/utils.py leaves of a configuration. It knows Celery's own URLs only, and others
can't add theirs: so its result is filtered once more.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from celery.app import utils

from celery_dtimer.accommodations import accommodates
from celery_dtimer.timer.connecting.hosts import without_password

#: Part of the names of our settings, misspelt ones too.
OURS = "dtimer"


@accommodates("all", remove_when="an app can say which of its settings Celery hides", celery=5657)
def hide_passwords() -> None:
    """Let Celery hide the passwords in our settings, in every app of this process; once more changes nothing."""
    if not hasattr(utils.filter_hidden_settings, OURS):
        utils.filter_hidden_settings = _hiding(utils.filter_hidden_settings)


def _hiding(filter_hidden_settings: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(filter_hidden_settings)
    def filtered(conf: Any) -> Any:
        return {
            key: hidden(value) if isinstance(key, str) and OURS in key.lower() else value
            for key, value in filter_hidden_settings(conf).items()
        }

    setattr(filtered, OURS, True)
    return filtered


def hidden(value: Any) -> Any:
    """Return a value of a setting as it may be shown, whatever it is."""
    if isinstance(value, str | bytes):
        text = value if isinstance(value, str) else value.decode(errors="replace")
        shown = without_password(text)
        return shown if isinstance(value, str) else shown.encode()
    if isinstance(value, Mapping):
        return {key: hidden(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [hidden(item) for item in value]
    # An object: perhaps a URL of some library. Celery shows the one or the other.
    for text in (str(value), repr(value)):
        if "://" in text:
            return without_password(text)
    return value
