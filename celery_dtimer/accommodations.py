"""The register of code that exists only because of the behaviour of Celery, kombu or redis-py.

Each says which versions need it, where upstream deals with it, and when it can go; ``tests/test_accommodations.py``
fails once the oldest supported version no longer needs one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T", bound=Callable[..., Any])


class Accommodation(NamedTuple):
    """One of them.

    Attributes:
        name: The function or class that it consists of.
        needed_by: The versions that need it.
        remove_when: A requirement, ``celery>=5.6``: it can go when the oldest supported version meets that. Or, as long
            as no release makes it superfluous, the change upstream that would.
        upstream: The issue or the pull request about it; None: none is known.
    """

    name: str
    needed_by: str
    remove_when: str
    upstream: str | None


#: All of them, as far as their modules have been imported.
ACCOMMODATIONS: list[Accommodation] = []


def accommodates(
    needed_by: str,
    *,
    remove_when: str,
    celery: int | None = None,
    kombu: int | None = None,
    redis: int | None = None,
) -> Callable[[T], T]:
    """Register a function or a class as an Accommodation; ``celery``, ``kombu`` or ``redis``: the number upstream."""
    numbers = {"celery/celery": celery, "celery/kombu": kombu, "redis/redis-py": redis}
    links = [f"https://github.com/{repository}/issues/{number}" for repository, number in numbers.items() if number]

    def note(made: T) -> T:
        name = f"{made.__module__}.{made.__qualname__}"
        ACCOMMODATIONS.append(Accommodation(name, needed_by, remove_when, links[0] if links else None))
        return made

    return note
