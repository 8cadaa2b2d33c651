"""The broker transports that worker tests run on."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class BrokerPlace:
    """Where a project finds its broker: kombu's URL and its ``broker_transport_options``."""

    url: str
    transport_options: dict[str, str] = field(default_factory=dict)


def filesystem_broker(folder: Path) -> BrokerPlace:
    """A broker without a server: workers and tests on one machine exchange files in ``folder``."""
    options = {}
    for option, name in [
        ("data_folder_in", "messages"),
        ("data_folder_out", "messages"),  # the same: what is sent is what is received
        ("control_folder", "control"),
    ]:
        (folder / name).mkdir(parents=True, exist_ok=True)
        options[option] = str(folder / name)
    return BrokerPlace("filesystem://", options)


def memory_broker() -> BrokerPlace:
    """A broker that each process has for itself: whatever reaches such a worker came by the timer."""
    return BrokerPlace("memory://")
