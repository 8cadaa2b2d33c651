"""The worker pools that the suite covers."""

#: Workers of the last two are monkey-patched, and run without a hub over every broker.
POOLS = ("prefork", "threads", "solo", "gevent", "eventlet")
