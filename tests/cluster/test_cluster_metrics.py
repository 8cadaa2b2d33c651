"""The gauges of a timer in a Redis Cluster: the sums of its shards."""

from prometheus_client import CollectorRegistry, generate_latest

from celery_dtimer import get_timer
from celery_dtimer.extension import extension_of
from celery_dtimer.operating.prometheus import TimerCollector


def test_the_gauges_are_sums_over_the_nodes(make_app, calm):
    app = make_app(dtimer_url=calm.url, dtimer_shards=3)

    @app.task
    def note():
        """Wait."""

    posted = [note.post(delay=30, queue="later") for _ in range(30)]
    registry = CollectorRegistry()
    registry.register(TimerCollector(extension_of(app)))
    text = generate_latest(registry).decode()
    assert "celery_dtimer_up 1.0" in text
    assert 'celery_dtimer_due_within{namespace="dt",queue="later",seconds="60"} 30.0' in text
    for result in posted:
        assert get_timer(app).cancel(result.id)
