"""What the shop takes from its environment."""

import os

#: The Redis of the timer and of the shop's own state.
REDIS_URL = os.environ.get("SHOP_REDIS_URL", "redis://localhost:6379/0")

#: The broker: any that Celery knows. The timer works beside it.
BROKER_URL = os.environ.get("SHOP_BROKER_URL", REDIS_URL)

#: Seconds after which an event that a dead worker held is redelivered.
CONFIRM_TIMEOUT = float(os.environ.get("SHOP_CONFIRM_TIMEOUT", "10"))

#: Seconds until a payment is tried again that the gateway could not take.
GATEWAY_RETRY_AFTER = float(os.environ.get("SHOP_GATEWAY_RETRY_AFTER", "3600"))

#: Seconds that it takes to write a statement.
STATEMENT_TAKES = float(os.environ.get("SHOP_STATEMENT_TAKES", "2"))
