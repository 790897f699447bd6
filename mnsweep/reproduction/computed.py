"""Values computed from our networks for the numbers that the paper prints: shapes, shares, params and mult-adds."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import groupby

from mnsweep.arch.cost import layer_mult_adds, layer_params
from mnsweep.arch.expand import expand
from mnsweep.arch.layer import Layer, image
from mnsweep.cell import Design
from mnsweep.counting import deployed_cost
from mnsweep.reproduction.networks import network_of
from mnsweep.reproduction.printed import Printed

FULL = Design.of(1.0, 224)  # the network of Tables 1 and 2
UNITS = {"M": 1e6, "B": 1e9}
_COUNTS: dict[str, Callable[[Layer], int]] = {"mult_adds": layer_mult_adds, "params": layer_params}  # named as in `Cost`
_KINDS = {"Conv 1x1": "pointwise", "Conv DW 3x3": "depthwise", "Conv 3x3": "stem", "Fully Connected": "head"}
# Table 3: α, side of the feature map in pixels, whether the layer is separable. ρ = .714 of 14 pixels is 10.
_ONE_LAYER = {
    "Convolution": (1.0, 14, False),
    "Depthwise Separable Conv": (1.0, 14, True),
    "alpha=0.75 (cumulative)": (0.75, 14, True),
    "rho=0.714 (cumulative)": (0.75, 10, True),
}


def computed(row: Printed) -> float | str | None:
    """Our value in the unit of `row`; None for accuracies, which are not counted, and for networks that are not built here."""
    if row.table == 1:
        return _shapes()[row.model][row.metric]
    metric = row.metric.removesuffix("_as_printed")
    what = metric.removesuffix("_share")
    if what not in _COUNTS:
        return None
    if row.table == 2:
        return _share(_KINDS[row.model], what)
    if row.table == 3:
        return sum(map(_COUNTS[what], _one_layer(*_ONE_LAYER[row.model]))) / UNITS[row.unit]
    design = network_of(row)
    return None if design is None else getattr(deployed_cost(design), what) / UNITS[row.unit.split()[0]]


def _share(kind: str, what: str) -> float:
    """The share of a count, in %, that is in layers of one kind."""
    layers, count = expand(FULL), _COUNTS[what]
    return 100 * sum(count(layer) for layer in layers if layer.kind == kind) / sum(map(count, layers))


def _one_layer(alpha: float, size: int, separable: bool) -> list[Layer]:
    channels = int(512 * alpha)
    before = replace(image(size), out_channels=channels)
    if not separable:
        return [before.conv("conv", channels, kernel=(3, 3), batch_norm=True)]
    depthwise = before.conv("depthwise", channels, kernel=(3, 3), groups=channels, batch_norm=True)
    return [depthwise, depthwise.conv("pointwise", channels, batch_norm=True)]


@cache
def _shapes() -> dict[str, dict[str, str | None]]:
    """Table 1 from our layers. As in the paper, repeated blocks are one pair of lines."""
    stem, *body, pool, head = expand(FULL)
    lines = [_line(stem)]
    for _, block in groupby(zip(body[::2], body[1::2], strict=True), key=lambda pair: [_line(layer) for layer in pair]):
        pairs = list(block)
        lines += [_line(layer, len(pairs)) for layer in pairs[0]]
    lines += [_line(pool), _line(head)]
    # Our network ends at the logits, without the softmax.
    lines.append({"type_stride": None, "filter_shape": None, "input_size": f"1x1x{head.out_channels}"})
    return {f"row{number:02}": line for number, line in enumerate(lines, 1)}


_TYPES = {"stem": "Conv", "depthwise": "Conv dw", "pointwise": "Conv", "pool": "Avg Pool", "head": "FC"}


def _line(layer: Layer, times: int = 1) -> dict[str, str | None]:
    """One layer in the notation of Table 1."""
    side, outputs = "x".join(map(str, layer.kernel)), layer.out_channels
    filters = {
        "depthwise": f"{side}x{outputs} dw",
        "pool": f"Pool {side}",
        "head": f"{layer.in_channels}x{outputs}",
    }
    stride = 1 if layer.kind == "pool" else layer.stride  # the pool has a single window
    return {
        "type_stride": f"{times}x " * (times > 1) + f"{_TYPES[layer.kind]} / s{stride}",
        "filter_shape": filters.get(layer.kind, f"{side}x{layer.in_channels}x{outputs}"),
        "input_size": f"{layer.in_size}x{layer.in_size}x{layer.in_channels}",
    }
