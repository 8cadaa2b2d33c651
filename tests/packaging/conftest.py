"""A release, built from the files of this checkout, and environments that have nothing but what it asks for."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

#: The tag that the copy of the repository gets, and the version that is expected of it.
TAG, VERSION = "v7.8.9", "7.8.9"

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")


def interpreter(version: str) -> str | None:
    """The program of a version of Python, if it is on this machine."""
    if version == "{}.{}".format(*sys.version_info):
        return sys.executable
    found = shutil.which(f"python{version}")
    # Version managers put programs in the path that only say that they are not chosen.
    return (
        found
        if found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0
        else None
    )


PYTHONS = {version: program for version in SUPPORTED if (program := interpreter(version))}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which of the supported versions nobody has tried."""
    missing = [version for version in SUPPORTED if version not in PYTHONS]
    terminalreporter.write_line(f"installed on Python {', '.join(PYTHONS)}; not here: {', '.join(missing) or 'none'}")


def run(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command and return all that it wrote; a failure shows it."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the files of this one as they are now, committed and tagged: nothing is built in this one."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=REPOSITORY)
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    run("git", "init", "--quiet", cwd=folder)
    run("git", "add", "--all", cwd=folder)
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    run("git", *identity, "commit", "--quiet", "--message", "x", cwd=folder)
    run("git", *identity, "tag", "--annotate", TAG, "--message", TAG, cwd=folder)
    return folder


def build(source: Path, target: Path, *arguments: str) -> Path:
    """Build distributions of a folder, with what is installed here, and return where they are."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, *arguments, source)
    return target


@dataclass(frozen=True)
class Release:
    """The two files that are uploaded."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="session")
def release(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The sdist of that checkout, and the wheel that is built from the sdist."""
    folder = build(checkout, tmp_path_factory.mktemp("dist"))
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Release(sdist, wheel)


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and a folder to be in that no package lies in."""

    programs: Path
    folder: Path

    def run(self, program: str, *arguments: object) -> str:
        """Run one of its programs, with nothing of this process's environment that leads to packages."""
        environment = {"PATH": f"{self.programs}:/usr/bin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8"}
        return run(self.programs / program, *arguments, cwd=self.folder, env=environment)

    def python(self, code: str) -> str:
        """Run code and return what it prints."""
        return self.run("python", "-c", code).strip()

    def install(self, *what: object) -> None:
        """Pip install, by this process's pip: an environment without one is made in no time."""
        pip = [sys.executable, "-m", "pip", "--python", self.programs / "python", "--disable-pip-version-check"]
        run(*pip, "install", "--quiet", "--no-compile", *what)


@pytest.fixture(scope="session")
def make_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Environment]]:
    """Makes an environment of a program of Python."""
    made: list[Path] = []

    def make(program: str) -> Environment:
        folder = tmp_path_factory.mktemp("environment")
        made.append(folder / "venv")
        run(program, "-m", "venv", "--without-pip", made[-1])
        (folder / "empty").mkdir()
        return Environment(made[-1] / "bin", folder / "empty")

    yield make
    for folder in made:
        shutil.rmtree(folder)
