"""What paper says of a cell: counts, and published accuracies. Standard library alone: counting starts at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from mnsweep.accuracy.published import Quality, published
from mnsweep.arch.channel_padding import Channels, padding, to_text
from mnsweep.arch.cost import layer_activation_bytes, layer_mult_adds, layer_params
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell
from mnsweep.counting import deployed_cost
from mnsweep.result import UNPADDED, Result

PCT_DIGITS = 4  # a hundredth of the last digit that anyone quotes


def count_table(cells: Sequence[Cell], quality_source: str, channels: Mapping[str, Channels] | None = None) -> list[Result]:
    """What paper says of every cell: counts, and the accuracy that `quality_source` printed.

    `channels` says by cell id what padding came to; where `auto` is not found out, the unpadded network is counted.
    """
    return [_counted(cell, quality_source, (channels or {}).get(cell.id)) for cell in cells]


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
        **quality_columns((published(cell, quality_source), None)),
    )


def quality_columns(known: tuple[Quality | None, float | None] | None) -> dict[str, Any]:
    """The columns of a quality, with its standard deviation in points where it is predicted; none where it is unknown."""
    quality, deviation = known or (None, None)
    if quality is None:
        return {}
    return {
        "quality_metric": quality.metric,
        "quality_pct": round(quality.quality_pct, PCT_DIGITS),
        "quality_sd_pct": rounded(deviation, PCT_DIGITS),
        "quality_source": quality.provenance,
        "top5_pct": quality.top5_pct,
    }


def rounded(value: float | None, digits: int) -> float | None:
    """The value with that many digits; None stays None."""
    return None if value is None else round(value, digits)
