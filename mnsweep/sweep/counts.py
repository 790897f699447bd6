"""Counts and published accuracies of cells. Imports only the standard library, so that `count` starts fast."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mnsweep.accuracy.published import Quality, Source, published
from mnsweep.arch.channel_padding import Channels, padding, to_text
from mnsweep.arch.cost import layer_activation_bytes, layer_mult_adds, layer_params
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell
from mnsweep.counting import deployed_cost
from mnsweep.result import UNPADDED, Result

PCT_DIGITS = 4  # a hundredth of the last digit that is usually quoted


def count_table(cells: Sequence[Cell], quality_source: Source, channels: Mapping[str, Channels] | None = None) -> list[Result]:
    """Results with the counts of every cell, and the accuracy that `quality_source` published.

    `channels` is the resolved padding by cell id. If `auto` is unresolved for a cell, its unpadded network is counted.
    """
    return [Result(**row) for row in count_rows(cells, quality_source, channels)]


def count_rows(
    cells: Iterable[Cell], quality_source: Source, channels: Mapping[str, Channels] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the known columns of each result of `count_table`; a hundred thousand results take as long again to make."""
    by_id = channels or {}
    for cell in cells:
        cell_id = cell.id
        yield {"cell": cell_id, **_counted(cell, quality_source, by_id.get(cell_id))}


def layer_rows(cell: Cell) -> list[dict[str, int | str]]:
    """One row per layer of the logical network: channels, sizes in pixels, counts per image, activation bytes in fp32."""
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


def _counted(cell: Cell, quality_source: Source, channels: Channels | None) -> dict[str, Any]:
    precision = cell.deployment.precision
    if channels is None and cell.deployment.pad != "auto":
        channels = padding(expand(cell.design), cell.deployment.pad, {})
    logical = deployed_cost(cell.design)
    deployed = deployed_cost(cell.design, channels, precision) if channels or precision != "fp32" else logical
    return {
        **cell.settings(),
        "params": logical.params,
        "mult_adds": logical.mult_adds,
        "deployed_mult_adds": deployed.mult_adds,
        "onnx_bytes": deployed.onnx_bytes,
        "peak_activation_bytes": deployed.peak_activation_bytes * cell.deployment.batch,
        "deployed_channels": None if channels is None else to_text(channels) or UNPADDED,
        **quality_columns((published(cell, quality_source), None)),
    }


def quality_columns(known: tuple[Quality | None, float | None] | None) -> dict[str, Any]:
    """The columns for (quality, standard deviation in points if it is predicted); none if the quality is unknown."""
    quality, deviation = known or (None, None)
    if quality is None:
        return {}
    return {
        "quality_metric": quality.metric,
        "quality_pct": round(quality.quality_pct, PCT_DIGITS),
        "quality_sd_pct": rounded(quality.deviation_pct if deviation is None else deviation, PCT_DIGITS),
        "quality_source": quality.provenance,
        "top5_pct": quality.top5_pct,
    }


def rounded(value: float | None, digits: int) -> float | None:
    """The value rounded to `digits` decimal places; None stays None."""
    return None if value is None else round(value, digits)
