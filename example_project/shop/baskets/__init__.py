"""Baskets, which lapse when nobody touches them."""
