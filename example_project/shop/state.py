"""The shop's tiny state: one Redis hash for each order, basket and account. A real shop has a database."""

import redis

from shop import config

client = redis.Redis.from_url(config.REDIS_URL, decode_responses=True)


def save(kind: str, name: str, **fields: str | int) -> None:
    """Set fields of a thing: ``save("order", "1001", status="paid")``."""
    client.hset(f"shop:{kind}:{name}", mapping=fields)


def load(kind: str, name: str) -> dict[str, str]:
    """Return all fields of a thing; empty if it is unknown."""
    return client.hgetall(f"shop:{kind}:{name}")
