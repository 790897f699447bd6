"""Comparing, timing files and reporting, as functions.

Columns of data frames have pandas' nullable types, as those of `mnsweep.api`; `attrs` have `sweep`, `machine` and
`results_dir`, None where there is none.
"""

from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from mnsweep.app.compare import cell_rows, compare_sweeps, outcome_of, to_document
from mnsweep.app.elsewhere import time_on
from mnsweep.app.interleave import interleave as measure_both
from mnsweep.app.report import report as write_report
from mnsweep.app.requests import CompareRequest, ReportRequest, TimeRequest
from mnsweep.app.time import TimeOutcome, time_files
from mnsweep.frames import NOWHERE, frame_of_rows, stacked
from mnsweep.listener import Listener
from mnsweep.measure.rounds import Rules
from mnsweep.options import request_from
from mnsweep.progress import reporting

PathText = str | PathLike[str]
_RATIOS = {"sweep": str, "cell": str, **dict.fromkeys(("ratio", "ci_low", "ci_high"), float), "verdict": str}
_TIMES = {
    **dict.fromkeys(("latency_p50_ms", "latency_ci_low_ms", "latency_ci_high_ms", "relative_ci_pct"), float),
    **dict.fromkeys(("ratio", "ci_low", "ci_high"), float),
}


def compare(
    *sweeps: PathText,
    progress: bool | None = None,
    rules: Rules | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Sweeps against the first of them, by name or folder: one row for each cell of each but the first.

    `ratio` is B's time over A's, with its 95 % interval; `verdict` is faster, slower, same or unsure. With `interleave`, two
    ways to run cells are measured against each other instead. The frame's `attrs` hold what `mnsweep compare --json` prints:
    `overall_ratio`, `picks`, `swaps`, `too_slow`, `remarks` and more of the first comparison, and `others`. Raises
    `MnsweepError` where no two cells correspond.
    """
    request = request_from(CompareRequest, sweeps=[str(sweep) for sweep in sweeps], **settings)
    if request.interleave:
        with reporting(progress, listener) as reports:
            comparison, _ = measure_both(request, reports, rules=rules)
        outcome = outcome_of((comparison,), request.fail_if_slower)
    else:
        outcome = compare_sweeps(request)
    rows = [{"sweep": c.b.sweep, **row} for c in outcome.comparisons for row in cell_rows(c.verdicts)]
    about = to_document(outcome)
    del about["cells"]
    return frame_of_rows(_RATIOS, rows, {**NOWHERE, **about})


def time(
    *files: PathText,
    wait: bool = False,
    progress: bool | None = None,
    rules: Rules | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Time model files of anyone's, interleaved: one row for each, in ms, with `ratio` and `verdict` against the first.

    The frame's `attrs` hold `sweep`, `machine`, `results_dir`, and `failures` (reason by file). Raises `MnsweepError` for a
    file that no runtime reads, and `UnavailableError` where a runtime is not installed.
    """
    request = request_from(TimeRequest, files=list(files), wait=wait, **settings)
    if request.elsewhere.is_asked:
        timed = time_on(request).checked()
        return stacked({host: _times_frame(outcome) for host, outcome in timed.outcomes.items()}, timed.troubles)
    with reporting(progress, listener) as reports:
        return _times_frame(time_files(request, reports, rules=rules))


def _times_frame(outcome: TimeOutcome) -> pd.DataFrame:
    folder = outcome.derived.folder
    about = {"sweep": folder.sweep, "machine": folder.machine, "results_dir": str(folder.path), "failures": outcome.failures}
    return frame_of_rows({"cell": str, **_TIMES, "verdict": str}, outcome.rows(), about)


def report(*sweeps: PathText, **settings: Any) -> Path:
    """Write one HTML page about sweeps (default: the newest of this machine), each compared with the first; its path.

    Raises `StoreError` where there are no results.
    """
    return write_report(request_from(ReportRequest, sweeps=[str(sweep) for sweep in sweeps], **settings)).path
