"""What a Dask worker of the tests loads first: it is a machine that plays back what was recorded (see `playback`)."""

import os
import sys
from pathlib import Path
from typing import Any

from mnsweep.fleet import agent
from mnsweep.machine.fingerprint import read_machine
from tests.far import ROOT

RECORDED, HOME, PACE = "TEST_RECORDED", "TEST_HOME", "TEST_PACE"  # environment variables


def dask_setup(worker: Any) -> None:
    """Dask calls it as the worker starts."""
    del worker
    home, recorded = Path(os.environ[HOME]), os.environ[RECORDED]
    folder = home / ".local/share/mnsweep/results/grid" / read_machine().key
    agent.RESULTS = str(home / ".local/share/mnsweep/results")
    agent.COMMAND = (sys.executable, "-S", str(ROOT / "tests/playback.py"), recorded, str(folder), os.environ[PACE])
