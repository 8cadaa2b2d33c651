"""Accounts: trials that end, and statements."""
