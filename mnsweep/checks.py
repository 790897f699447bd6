"""The commands that check the paper, a network and the machine, as functions that return data frames.

Columns have pandas' nullable types, as those of `mnsweep.api`; `attrs` have `sweep`, `machine` and `results_dir`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from mnsweep.app.doctor import diagnose, findings_of
from mnsweep.app.doctor import to_document as diagnosis_document
from mnsweep.app.elsewhere import doctor_on
from mnsweep.app.paper import check_paper
from mnsweep.app.paper_times import PaperMeasured, measure_paper
from mnsweep.app.profile import profile as profile_cell
from mnsweep.app.profile import to_document as profile_document
from mnsweep.app.requests import PaperRequest, ProfileRequest
from mnsweep.cell import Cell, Design
from mnsweep.frames import NOWHERE, frame_of_rows, stacked
from mnsweep.listener import Listener
from mnsweep.options import request_from
from mnsweep.progress import reporting
from mnsweep.reproduction.judge import Row
from mnsweep.reproduction.ratios import by_design, ratios
from mnsweep.result import Result
from mnsweep.space import AxisLike

_PRINTED = {
    **dict.fromkeys(("model", "metric", "paper_text", "computed_text", "unit", "verdict", "reason", "cell"), str),
    **dict.fromkeys(("paper", "computed", "latency_ms", "latency_ci_low_ms", "latency_ci_high_ms"), float),
}
_LAYERS = {
    **dict.fromkeys(("name", "kind"), str),
    **dict.fromkeys(("ms", "time_pct"), float),
    **dict.fromkeys(("deployed_mult_adds", "bytes"), int),
    **dict.fromkeys(("gflops", "flops_per_byte", "peak_pct"), float),
    "bound": str,
    "roof_pct": float,
    "operators": str,
}
_FINDINGS = dict.fromkeys(("name", "value", "verdict", "why", "fix"), str)


def paper(
    table: int | None = None,
    *,
    measure: bool = False,
    wait: bool = False,
    progress: bool | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Every number of the paper's tables, or of one `table`, beside the computed one; one row per number.

    `paper` and `computed` are numbers in `unit`, unknown for shapes and networks that are not built; `paper_text` and
    `computed_text` are both as text. `verdict` is match, erratum, assumption, quoted or mismatch, with a `reason`. With
    `measure`, the networks are timed here in at most five minutes: `latency_ms` with its interval, and in `attrs` the `ratios`
    of mult-adds and latency, and `missing` networks (reason by cell id). Raises `MnsweepError` on a bad value.
    """
    request = request_from(PaperRequest, table=table, measure=measure, wait=wait, **settings)
    tables = check_paper(request)
    measured = None
    if request.measure:
        with reporting(progress, listener) as reports:
            measured = measure_paper(request, tables, reports)
    numbers, about = [], {**_place(measured), "ratios": [], "missing": dict(measured.missing if measured else {})}
    for rows in tables.values():
        times = by_design(rows, measured.derived.results) if measured else {}
        numbers += [_number(row, times) for row in rows]
        about["ratios"] += [asdict(ratio) for ratio in ratios(rows, times)] if measured else []
    return frame_of_rows({"table": int, **_PRINTED}, numbers, about)


def profile(alpha: AxisLike | None = None, res: AxisLike | None = None, *, wait: bool = False, **settings: Any) -> pd.DataFrame:
    """Where the time of one cell goes on this machine, in about ten seconds; one row per deployed layer.

    `ms` is in one run of the whole batch, as `bytes`; `deployed_mult_adds` are per image; `gflops` is in `rate_unit`.
    `attrs` hold all else that `mnsweep profile --json` prints: `cell`, `latency_ms`, `peak_gflops`, `bandwidth_gb_per_s`,
    `kinds`, `lint` (findings with advice), `files` and more. Raises `MnsweepError` on a bad value, `UnavailableError` where
    the cell does not run here.
    """
    outcome = profile_cell(request_from(ProfileRequest, alpha=alpha, res=res, wait=wait, **settings))
    about = profile_document(outcome.profile, outcome.files)
    layers = [{**layer, "operators": ", ".join(o["name"] for o in layer["operators"])} for layer in about.pop("layers")]
    where = {"sweep": None, "results_dir": str(outcome.folder.path), "rate_unit": outcome.profile.rate_unit}
    return frame_of_rows(_LAYERS, layers, {**about, **where})


def doctor(timing: bool = True, *, on: str | None = None) -> pd.DataFrame:
    """What may disturb timing on this machine, and how to fix it; one row per condition.

    `timing` also times small networks for a few seconds. `attrs` hold all else that `mnsweep doctor --json` prints:
    `repeatability` and `threads` (None without timing), what is known of the machine (`checked`, `informative`); and
    `obstacle`, why nothing can be timed here, or None. With `on`, other hosts look at themselves: the frame has the rows of
    all, with the column `host` in front.
    """
    if on is not None:
        found = doctor_on(on, no_timing=not timing).checked()
        return stacked({host: _findings_frame(document) for host, document in found.outcomes.items()}, found.troubles)
    diagnosis = diagnose(timing=bool(timing))
    about = diagnosis_document(diagnosis)
    findings = about.pop("findings")
    obstacle = diagnosis.obstacle and str(diagnosis.obstacle)
    return frame_of_rows(_FINDINGS, findings, {**NOWHERE, **about, "obstacle": obstacle})


def _findings_frame(document: Mapping[str, Any]) -> pd.DataFrame:
    return frame_of_rows(_FINDINGS, [asdict(finding) for finding in findings_of(document)], NOWHERE)


def _place(measured: PaperMeasured | None) -> dict[str, Any]:
    if measured is None:
        return dict(NOWHERE)
    folder = measured.derived.folder
    return {"sweep": folder.sweep, "machine": folder.machine, "results_dir": str(folder.path)}


def _number(row: Row, times: Mapping[Design, Result]) -> dict[str, Any]:
    result = times.get(row.design) if row.design else None
    return {
        **{name: getattr(row, name) for name in ("table", "model", "metric", "unit", "verdict", "reason")},
        "paper_text": row.text,
        "paper": None if isinstance(row.paper, str) else row.paper,
        "computed_text": None if row.computed is None else str(row.computed),
        "computed": None if isinstance(row.computed, str) else row.computed,
        "cell": Cell(row.design).id if row.design else None,
        "latency_ms": result and result.latency_p50_ms,
        "latency_ci_low_ms": result and result.latency_ci_low_ms,
        "latency_ci_high_ms": result and result.latency_ci_high_ms,
    }
