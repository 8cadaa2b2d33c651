"""A DTimer on the events of an app. The product keeps them apart; tests look in, store what no task is, and listen."""

from celery_dtimer import DTimer
from celery_dtimer.timer.owners import APP
from celery_dtimer.timer.storing.namespace import Shards


class Outsider(DTimer):
    """Takes what a DTimer takes; its events are those of the app with that namespace."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        own = self.shards
        self.shards = Shards(own.servers, own.namespace, len(own), own[0].replication, APP)
