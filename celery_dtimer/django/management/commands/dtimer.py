"""``manage.py dtimer ...``: the commands of ``celery -A proj dtimer ...``."""

from collections.abc import Sequence
from typing import Any

from celery.bin.celery import celery
from django.core.management.base import BaseCommand


class Command(BaseCommand):  # type: ignore[misc] # Django ships no types
    """Hands everything on to Celery's command, which takes the project's app."""

    help = "Look at delayed tasks, and steer them: the commands of celery dtimer."

    def run_from_argv(self, argv: Sequence[str]) -> None:
        """Run a command; its options are Celery's, not Django's."""
        celery.main(["dtimer", *argv[2:]], prog_name=argv[0])

    def add_arguments(self, parser: Any) -> None:
        """Take any, for ``call_command``."""
        parser.add_argument("arguments", nargs="*")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run a command for ``call_command``."""
        celery.main(["dtimer", *options["arguments"]], standalone_mode=False)
