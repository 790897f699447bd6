"""The process that times, what it runs, and its parent's view of it."""
