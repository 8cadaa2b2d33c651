"""From a due event to a task invocation, in the worker."""
