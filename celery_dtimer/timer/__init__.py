"""The distributed timer: events in Redis, claimed by listeners as they come due. Knows nothing of Celery."""
