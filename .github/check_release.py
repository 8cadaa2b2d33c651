"""Whether a tag may be published: ``check_release.py v0.1.0 owner/repository``, after a build into dist/."""

import re
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def faults(tag: str, repository: str, folder: Path = REPOSITORY) -> list[str]:
    """Return what has to be put right first, in words.

    Args:
        tag: Such as v0.1.0.
        repository: Its owner and name on the code host, which the package's addresses must lead to.
        folder: Where dist/ and CHANGELOG.md are.
    """
    version = tag.removeprefix("v")
    found = []
    wheels = list((folder / "dist").glob("*.whl"))
    sdists = list((folder / "dist").glob("*.tar.gz"))
    if [file.name.split("-")[1] for file in wheels] != [version]:
        found.append(f"dist/ must have one wheel, of {version}, got {[file.name for file in wheels]}")
    if [file.name for file in sdists] != [f"celery_dtimer-{version}.tar.gz"]:
        found.append(f"dist/ must have one sdist, of {version}, got {[file.name for file in sdists]}")
    changelog = (folder / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE):
        found.append(f"CHANGELOG.md must have the heading '## [{version}] - YYYY-MM-DD'")
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            addresses = Parser().parsestr(archive.read(name).decode()).get_all("Project-URL", [])
        if not any(repository.lower() in address.lower() for address in addresses):
            found.append(f"project.urls in pyproject.toml must name {repository}, got {addresses}")
    return found


if __name__ == "__main__":
    told = faults(sys.argv[1], sys.argv[2])
    print(*told, sep="\n", file=sys.stderr)
    sys.exit(1 if told else 0)
