"""The store: the shards of a namespace, their keys and their scripts."""
