"""The tidy table: one result for each cell, from counts, measurements, predictions and published accuracies."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from mnsweep.accuracy.published import Source
from mnsweep.accuracy.surface import quality_of
from mnsweep.arch.channel_padding import Channels, pad_channels
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Design
from mnsweep.choice.frontier import pareto
from mnsweep.errors import MnsweepError
from mnsweep.estimate.fit import Estimate, Movement
from mnsweep.graph.tflite_lowering import tflite_bytes
from mnsweep.names import PRECISIONS, runtime_named
from mnsweep.prediction.deployments import Models, Predicted, predict
from mnsweep.result import COLUMNS, MEASURED, PREDICTED, Result
from mnsweep.sweep.counts import PCT_DIGITS, count_table, quality_columns, rounded
from mnsweep.sweep.file import Listed

TFLITE = "tflite"
MS_DIGITS, RATE_DIGITS = 6, 3  # 1e-6 ms is a nanosecond


def measured_table(
    cells: Sequence[Cell],
    estimates: Mapping[str, Estimate],
    quality_source: Source,
    channels: Mapping[str, Channels] | None = None,
) -> list[Result]:
    """Results with counts, published accuracies, measured latencies, and the frontier among the measured cells.

    `estimates` and `channels` (resolved padding) are keyed by cell id.
    """
    counted = map(_with_own_size, count_table(cells, quality_source, channels))
    results = [replace(r, **_latency(estimates[r.cell], r.batch)) if r.cell in estimates else r for r in counted]
    return with_frontier(results)


def _with_own_size(result: Result) -> Result:
    """The result with the size of the file that its runtime reads, where that is no ONNX file."""
    if runtime_named(result.runtime).file_format == TFLITE and (channels := result.channels) is not None:
        with suppress(MnsweepError):  # a layer that TensorFlow Lite has not: the cell fails, and says so
            return replace(result, onnx_bytes=_tflite_bytes(result.design, frozenset(channels.items()), result.precision))
    return result


@lru_cache(maxsize=4096)
def _tflite_bytes(design: Design, channels: frozenset[tuple[int, int]], precision: str) -> int:
    return tflite_bytes(pad_channels(expand(design), dict(channels)), PRECISIONS[precision].quantized)


def with_predictions(
    results: Sequence[Result],
    cells: Sequence[Cell],
    *,
    models: Models,
    channels: Mapping[str, Channels],
    movement: Movement,
    quality_source: Source,
    extrapolate: bool,
) -> list[Result]:
    """The results, with missing latencies and accuracies of `cells` predicted, and the frontier among all results.

    `channels` is the resolved padding by cell id. Like measured intervals, predicted ones include how far the machine's speed
    moved. With `extrapolate`, accuracies beyond the range of `quality_source` are predicted too.
    """
    by_id = {cell.id: cell for cell in cells}
    predicted = predict(models, [by_id[r.cell] for r in results if r.latency_p50_ms is None and r.cell in by_id], channels)
    filled = []
    for r in results:
        latency = _predicted_latency(predicted[r.cell], r.batch, movement) if r.cell in predicted else {}
        quality = quality_columns(quality_of(by_id[r.cell], quality_source, extrapolate)) if r.cell in by_id else {}
        filled.append(replace(r, **latency, **quality))
    frontier = _frontier(filled, [True] * len(filled))
    return [
        replace(r, predicted_on_frontier=on if _has_both(r) else None)
        for r, on in zip(with_frontier(filled), frontier, strict=True)
    ]


def with_frontier(results: Iterable[Result]) -> list[Result]:
    """The results with `on_frontier` decided among those that have a measured latency and a quality."""
    results = list(results)
    known = [_has_both(r) and r.latency_source != PREDICTED for r in results]
    decided = zip(results, _frontier(results, known), known, strict=True)
    return [replace(r, on_frontier=on if is_known else None) for r, on, is_known in decided]


def _frontier(results: Sequence[Result], counted: Sequence[bool]) -> list[bool]:
    """Whether each result is on a frontier, among those `counted`. Each quality metric has a separate frontier."""
    on = [False] * len(results)
    for metric in dict.fromkeys(r.quality_metric for r in results):
        its = [r.latency_p50_ms if c and r.quality_metric == metric else None for r, c in zip(results, counted, strict=True)]
        points = [(ms, r.quality_pct) for ms, r in zip(its, results, strict=True)]
        on = [before or now for before, now in zip(on, pareto(points), strict=True)]
    return on


def _has_both(r: Result) -> bool:
    return r.latency_p50_ms is not None and r.quality_pct is not None


def item_rows(items: Mapping[str, Listed], estimates: Mapping[str, Estimate]) -> list[dict[str, Any]]:
    """Rows of `cells.csv` for what is no cell, with the columns that are known of it."""
    rows = []
    for item, listed in items.items():
        row: dict[str, Any] = {**dict.fromkeys(COLUMNS), "cell": item, "onnx_bytes": listed.size_bytes}
        row |= {"precision": listed.precision, "runtime": listed.runtime, "threads": listed.threads}
        if item in estimates:
            row |= {**_latency(estimates[item], 1), "images_per_s": None}
        rows.append(row)
    return rows


def _latency(estimate: Estimate, batch: int) -> dict[str, Any]:
    return {
        "latency_p50_ms": round(estimate.p50_ms, MS_DIGITS),
        "latency_ci_low_ms": rounded(estimate.ci_low_ms, MS_DIGITS),
        "latency_ci_high_ms": rounded(estimate.ci_high_ms, MS_DIGITS),
        "relative_ci_pct": rounded(estimate.relative_ci_pct, PCT_DIGITS),
        "latency_p90_ms": rounded(estimate.p90_ms, MS_DIGITS),
        "latency_p99_ms": rounded(estimate.p99_ms, MS_DIGITS),
        "samples": estimate.samples,
        "rounds": estimate.rounds,
        "stability": estimate.stability,
        "stability_reason": estimate.stability_reason,
        "latency_source": MEASURED,
        "images_per_s": round(batch / estimate.p50_ms * 1e3, RATE_DIGITS),
    }


def _predicted_latency(predicted: Predicted, batch: int, movement: Movement) -> dict[str, Any]:
    faster, slower = -np.log1p(-movement.faster_pct / 100), np.log1p(movement.slower_pct / 100)
    low, high = np.log(predicted.ms / predicted.low_ms), np.log(predicted.high_ms / predicted.ms)
    return {
        "latency_p50_ms": round(predicted.ms, MS_DIGITS),
        "latency_ci_low_ms": round(predicted.ms * float(np.exp(-np.hypot(low, faster))), MS_DIGITS),
        "latency_ci_high_ms": round(predicted.ms * float(np.exp(np.hypot(high, slower))), MS_DIGITS),
        "latency_source": PREDICTED,
        "images_per_s": round(batch / predicted.ms * 1e3, RATE_DIGITS),
    }
