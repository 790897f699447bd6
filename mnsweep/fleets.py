"""Other machines, as functions; `on` and `fleet` of the other functions run on them."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from mnsweep.app.fleet import status
from mnsweep.frames import NOWHERE, frame_of_rows

_STATUS: dict[str, type] = {
    **dict.fromkeys(("host", "machine", "version"), str),
    "workers": int,
    **dict.fromkeys(("can_measure", "can_train"), bool),
    **dict.fromkeys(("holder", "last_sweep"), str),
    "ahead_s": float,
    "trouble": str,
}


def fleet_status(on: str | None = None, fleet: str | None = None, *, insecure: bool = False) -> pd.DataFrame:
    """One row for each host of `on` (default: all of fleet.toml), and each machine of the Dask scheduler `fleet`.

    `ahead_s` is how far its clock is ahead in seconds; `trouble` says why it can't be used. Raises `MnsweepError` where
    nothing is named.
    """
    rows: list[dict[str, Any]] = [asdict(each) for each in status(on, fleet, insecure=insecure)]
    return frame_of_rows(_STATUS, rows, NOWHERE)
