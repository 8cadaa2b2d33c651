"""For the people who run it."""
