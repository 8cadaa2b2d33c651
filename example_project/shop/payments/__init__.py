"""Payments that are collected later, through a gateway that is down at times."""
