"""The owner of events: a DTimer, or a Celery app. The two never share any, and name their options differently."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Owner:
    """One of the two.

    Attributes:
        mark: Text behind the namespace in the names of keys. It has a colon, which no namespace has: a DTimer and an
            app share nothing, however their namespaces are spelled.
        prefix: Text in front of an option's name where the owner sets it.
        url: The owner's name for the URL.
    """

    mark: str
    prefix: str
    url: str

    def named(self, option: str) -> str:
        """Return the owner's name for an option: ``dtimer_shards`` is a setting, ``shards`` an argument."""
        return self.url if option == "url" else self.prefix + option


DTIMER = Owner(mark="", prefix="", url="url_or_client")
APP = Owner(mark="tasks:", prefix="dtimer_", url="dtimer_url")
