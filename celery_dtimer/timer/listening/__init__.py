"""A listener: the loop that claims due events, and the thread that wakes it."""
