"""From a task call to a stored event, in any process."""
