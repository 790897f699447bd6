"""The command line: parse, call, print. Slow imports are inside the commands, so that --help is fast."""

import time

STARTED = time.monotonic()  # about when the command was typed: time budgets count from here
