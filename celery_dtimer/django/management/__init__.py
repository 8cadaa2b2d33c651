"""The commands' place, as Django looks for it."""
