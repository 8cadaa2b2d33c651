"""Servers, and how they are reached: one Redis, the master that sentinels name, a Redis Cluster."""
