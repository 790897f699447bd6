"""The worker process that times models, the runtimes it loads, and its proxy in the parent process."""
