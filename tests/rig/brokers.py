"""The broker transports that worker tests run on."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rig.rabbitmq import RabbitServer
from rig.sqs import SqsServer


@dataclass(frozen=True)
class BrokerPlace:
    """Where a project finds its broker: kombu's URL, its ``broker_transport_options``, and Celery's settings for it."""

    url: str
    transport_options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


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


@contextmanager
def rabbitmq_broker(server: RabbitServer, queue_type: str) -> Iterator[BrokerPlace]:
    """A virtual host of the test's own. Quorum queues are set up as Celery's documentation has it."""
    vhost = f"test-{uuid.uuid4().hex[:12]}"
    server.add_vhost(vhost)
    quorum = {
        "task_default_queue_type": "quorum",
        "worker_detect_quorum_queues": True,
        # Celery declares queues that -Q names, and the project does not, of this type.
        "task_create_missing_queue_type": "quorum",
    }
    # Confirmed publishing belongs to quorum queues. It is no option for greenlets: one that waits for its confirm, the
    # worker's heartbeat, waits for ever when another one that drains the same connection has read it.
    if queue_type == "quorum":
        yield BrokerPlace(server.url_of(vhost), {"confirm_publish": True}, quorum)
    else:
        yield BrokerPlace(server.url_of(vhost))
    if server.running:
        server.delete_vhost(vhost)


def sqs_broker(server: SqsServer) -> BrokerPlace:
    """Queues of the test's own, by their prefix: a message of one test is never another's."""
    options = {
        "region": "us-east-1",
        "is_secure": False,
        "queue_name_prefix": f"test-{uuid.uuid4().hex[:12]}-",
        "wait_time_seconds": 1,  # of a long poll
        "polling_interval": 0.2,
    }
    return BrokerPlace(f"sqs://id:secret@{server.address}", options)
