"""Orders, and the reminders that they be paid."""
