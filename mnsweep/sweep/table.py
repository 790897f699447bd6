"""The tidy table: one result for each cell, from counts, measurements and published accuracies."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mnsweep.accuracy.published import Quality, published
from mnsweep.accuracy.surface import quality_of
from mnsweep.arch.channel_padding import Channels, padding, to_text
from mnsweep.arch.cost import layer_activation_bytes, layer_mult_adds, layer_params
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell
from mnsweep.choice.frontier import pareto
from mnsweep.counting import deployed_cost
from mnsweep.measure.fit import Estimate, Movement
from mnsweep.prediction.deployments import Models, Predicted, predict
from mnsweep.result import MEASURED, PREDICTED, UNPADDED, Result

MS_DIGITS, PCT_DIGITS, RATE_DIGITS = 6, 4, 3  # a nanosecond, and a hundredth of the last digit anyone quotes


def count_table(cells: Sequence[Cell], quality_source: str, channels: Mapping[str, Channels] | None = None) -> list[Result]:
    """What paper says of every cell: counts, and the accuracy that `quality_source` printed.

    `channels` says by cell id what padding came to; where `auto` is not found out, the unpadded network is counted.
    """
    return [_counted(cell, quality_source, (channels or {}).get(cell.id)) for cell in cells]


def measured_table(
    cells: Sequence[Cell],
    estimates: Mapping[str, Estimate],
    quality_source: str,
    channels: Mapping[str, Channels] | None = None,
) -> list[Result]:
    """The same with what was measured beside it, and the frontier among the measured cells."""
    counted = count_table(cells, quality_source, channels)
    results = [replace(r, **_latency(estimates[r.cell], r.batch)) if r.cell in estimates else r for r in counted]
    return with_frontier(results)


def with_predictions(
    results: Sequence[Result],
    cells: Sequence[Cell],
    models: Models,
    channels: Mapping[str, Channels],
    movement: Movement,
    quality_source: str,
    extrapolate: bool,
) -> list[Result]:
    """The same with what was not measured or published predicted, for `cells`, and the frontier among all.

    Like a measured one, a predicted interval has how far the machine's speed moved in it.
    """
    by_id = {cell.id: cell for cell in cells}
    predicted = predict(models, [by_id[r.cell] for r in results if r.latency_p50_ms is None and r.cell in by_id], channels)
    filled = []
    for r in results:
        latency = _predicted_latency(predicted[r.cell], r.batch, movement) if r.cell in predicted else {}
        quality = _quality(quality_of(by_id[r.cell], quality_source, extrapolate)) if r.cell in by_id else {}
        filled.append(replace(r, **latency, **quality))
    frontier = _frontier(filled, [True] * len(filled))
    return [
        replace(r, predicted_on_frontier=on if _has_both(r) else None)
        for r, on in zip(with_frontier(filled), frontier, strict=True)
    ]


def layer_rows(cell: Cell) -> list[dict[str, int | str]]:
    """One design layer by layer: shapes in channels and pixels, counts per image, activations in fp32."""
    return [
        {
            "name": layer.name,
            "kind": layer.kind,
            "input": "+".join(layer.inputs),
            "in_channels": layer.in_channels,
            "in_size": layer.in_size,
            "out_channels": layer.out_channels,
            "out_size": layer.out_size,
            "kernel": layer.kernel[0],
            "kernel_width": layer.kernel[1],
            "stride": layer.stride,
            "padding_before": layer.pads[0],
            "padding_after": layer.pads[2],
            "params": layer_params(layer),
            "mult_adds": layer_mult_adds(layer),
            "activation_bytes": layer_activation_bytes(layer),
        }
        for layer in expand(cell.design)
    ]


def with_frontier(results: Iterable[Result]) -> list[Result]:
    """The results with `on_frontier` decided among those that have a measured latency and a quality."""
    results = list(results)
    known = [_has_both(r) and r.latency_source != PREDICTED for r in results]
    decided = zip(results, _frontier(results, known), known, strict=True)
    return [replace(r, on_frontier=on if is_known else None) for r, on, is_known in decided]


def _frontier(results: Sequence[Result], counted: Sequence[bool]) -> list[bool]:
    """Which of the counted results are on a frontier: each metric has its own, since two can't be compared."""
    on = [False] * len(results)
    for metric in dict.fromkeys(r.quality_metric for r in results):
        its = [r.latency_p50_ms if c and r.quality_metric == metric else None for r, c in zip(results, counted, strict=True)]
        points = [(ms, r.quality_pct) for ms, r in zip(its, results, strict=True)]
        on = [before or now for before, now in zip(on, pareto(points), strict=True)]
    return on


def _has_both(r: Result) -> bool:
    return r.latency_p50_ms is not None and r.quality_pct is not None


def _counted(cell: Cell, quality_source: str, channels: Channels | None) -> Result:
    settings: dict[str, Any] = cell.settings()
    if channels is None and cell.deployment.pad != "auto":
        channels = padding(expand(cell.design), cell.deployment.pad, {})
    logical = deployed_cost(cell.design)
    deployed = deployed_cost(cell.design, channels, cell.deployment.precision)
    return Result(
        cell=cell.id,
        **settings,
        params=logical.params,
        mult_adds=logical.mult_adds,
        deployed_mult_adds=deployed.mult_adds,
        onnx_bytes=deployed.onnx_bytes,
        peak_activation_bytes=deployed.peak_activation_bytes * cell.deployment.batch,
        deployed_channels=None if channels is None else to_text(channels) or UNPADDED,
        **_quality((published(cell, quality_source), None)),
    )


def _quality(known: tuple[Quality | None, float | None] | None) -> dict[str, Any]:
    quality, deviation = known or (None, None)
    if quality is None:
        return {}
    return {
        "quality_metric": quality.metric,
        "quality_pct": round(quality.quality_pct, PCT_DIGITS),
        "quality_sd_pct": _rounded(deviation, PCT_DIGITS),
        "quality_source": quality.provenance,
        "top5_pct": quality.top5_pct,
    }


def _latency(estimate: Estimate, batch: int) -> dict[str, Any]:
    return {
        "latency_p50_ms": round(estimate.p50_ms, MS_DIGITS),
        "latency_ci_low_ms": round(estimate.ci_low_ms, MS_DIGITS),
        "latency_ci_high_ms": round(estimate.ci_high_ms, MS_DIGITS),
        "relative_ci_pct": _rounded(estimate.relative_ci_pct, PCT_DIGITS),
        "latency_p90_ms": _rounded(estimate.p90_ms, MS_DIGITS),
        "latency_p99_ms": _rounded(estimate.p99_ms, MS_DIGITS),
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


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
