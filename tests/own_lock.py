"""`python -m tests.own_lock LOCK …`: mnsweep with another lock than the machine's, so that no other suite is in its way."""

import sys
from pathlib import Path

from mnsweep.cli.main import main
from mnsweep.machine import lock

if __name__ == "__main__":
    path = Path(sys.argv.pop(1))
    lock.__dict__["lock_path"] = lambda: path
    main()
