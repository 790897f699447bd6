"""The tidy table: one result for each cell, from counts, measurements and published accuracies."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mnsweep.accuracy.published import published
from mnsweep.arch.channel_padding import Channels, padding, to_text
from mnsweep.arch.cost import deployed_cost, layer_activation_bytes, layer_mult_adds, layer_params
from mnsweep.arch.layers import expand
from mnsweep.cell import Cell
from mnsweep.explore.frontier import pareto
from mnsweep.measure.estimate import Estimate
from mnsweep.result import UNPADDED, Result

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
            "kernel": layer.kernel,
            "stride": layer.stride,
            "padding_before": layer.padding[0],
            "padding_after": layer.padding[1],
            "params": layer_params(layer),
            "mult_adds": layer_mult_adds(layer),
            "activation_bytes": layer_activation_bytes(layer),
        }
        for layer in expand(cell.design)
    ]


def with_frontier(results: Iterable[Result]) -> list[Result]:
    """The results with `on_frontier` decided among those that have a latency and a quality."""
    results = list(results)
    frontier = pareto([(r.latency_p50_ms, r.quality_pct) for r in results])
    known = [r.latency_p50_ms is not None and r.quality_pct is not None for r in results]
    return [replace(r, on_frontier=on if has_both else None) for r, on, has_both in zip(results, frontier, known, strict=True)]


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
        **_quality(cell, quality_source),
    )


def _quality(cell: Cell, source: str) -> dict[str, Any]:
    quality = published(cell, source)
    if quality is None:
        return {}
    return {
        "quality_metric": quality.metric,
        "quality_pct": quality.quality_pct,
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
        "latency_source": "measured",
        "images_per_s": round(batch / estimate.p50_ms * 1e3, RATE_DIGITS),
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
