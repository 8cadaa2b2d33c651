"""The same tests on other versions: ``nox`` for all of them, ``nox -s oldest`` for one."""

import nox

nox.options.default_venv_backend = "venv"

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]

#: What the oldest supported versions need beside themselves: pytest-celery and its tools take the newest.
OLDEST = ["celery[redis]==5.5.*", "kombu==5.5.*", "redis==5.2.*"]


def _test(session: nox.Session, *pins: str, options: tuple[str, ...] = ()) -> None:
    session.install("--upgrade", "pip>=25.1")  # that of the venv may be older, and not know --group
    session.install("-e", ".[demo]", *pins)
    session.install("--group", "test", *pins)
    session.run("python", "-m", "pytest", "-n", "2", *options, *(session.posargs or ["tests"]))


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """The newest versions, on each Python."""
    _test(session)


@nox.session(python="3.11")
def oldest(session: nox.Session) -> None:
    """The oldest versions. Old clients leave sockets to the garbage collector: no reason to fail here."""
    ignored = ("-W", "ignore::ResourceWarning", "-W", "ignore::pytest.PytestUnraisableExceptionWarning")
    _test(session, *OLDEST, options=ignored)


@nox.session(python="3.11")
@nox.parametrize("celery", ["5.6"])
def between(session: nox.Session, celery: str) -> None:
    """The versions between."""
    _test(session, f"celery[redis]=={celery}.*")
