"""Code that exists only because of Celery or kombu: patches of them, uses of their private names, detours.

Posting and firing need them both, and do not import each other, so that they stand in a room of their own. Each is
registered, see accommodations.py.
"""
