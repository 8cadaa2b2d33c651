"""The worker pools that the suite covers."""

#: gevent and eventlet join when their monkey-patched workers do.
POOLS = ("prefork", "threads", "solo", "gevent", "eventlet")
