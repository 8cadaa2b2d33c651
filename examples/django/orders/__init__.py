"""Orders, their reminders and their ends."""
