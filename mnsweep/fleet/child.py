"""The ordinary `mnsweep`, for as long as the process that started it lives: nobody would read what an orphan says.

python -P -m mnsweep.fleet.child grid --alpha 0.25 …
"""

import os
import signal
import threading
import time
from runpy import run_module

POLL_S = 1.0


def _end_with(parent: int) -> None:
    """Interrupt this program, as Ctrl-C does, once it has another parent."""
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    run_module("mnsweep", run_name="__main__")
