"""From a chain of layers to our own network: which design it is, and its arrays under our names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnsweep.arch.expand import expand
from mnsweep.arch.layer import IMAGE, Layer, pad_and_size
from mnsweep.arch.mobilenet import STEM_CHANNELS, WIDTH_RULES, scaled
from mnsweep.cell import ALPHA_RANGE, RESOLUTION_RANGE, Design
from mnsweep.errors import MnsweepError
from mnsweep.graph.integers import SHIFT, Integers
from mnsweep.graph.weights import TF_EPSILON, Weights
from mnsweep.importing import operators as o
from mnsweep.importing.operators import Scale, Source
from mnsweep.importing.problems import FormatError, misfit
from mnsweep.importing.walk import Chain, Stage
from mnsweep.names import VARIANTS, choices

PLACES, MOST_TRIES = 6, 50  # decimal places of a width multiplier, and candidates for each number of places
FEWEST, ROUNDED_BY = 8, 8  # channels of every layer at least, and by how many `round8` changes a width at most
CLASSES_WITHOUT_HEAD = 1000
BN_PARTS = ("scale", "shift", "mean", "variance")
LEAST, MOST = 0, 255  # of an unsigned byte
SIX = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the user says where a file says nothing; None leaves it to the file."""

    res: int | None = None
    conv_padding: str | None = None
    epsilon: float | None = None


def network_of(chain: Chain, source: Source, given: Given) -> tuple[Design, Weights | Integers]:
    """The design, and its arrays.

    Raises `MnsweepError` where the layers are not those of a MobileNet, or the resolution is unknown.
    """
    stages, head = chain.stages[: chain.pool_at] if chain.pool else chain.stages, chain.stages[chain.pool_at :]
    if not chain.pool:
        head = []
    if len(head) > 1:
        raise misfit(head[1].operator.name, "is a second layer after the pool; a MobileNet ends in one")
    _check_body(stages)
    if given.res and source.resolution and given.res != source.resolution:
        raise MnsweepError(f"`res` {given.res}: the file is for {source.resolution} px", "leave it out")
    resolution = given.res or source.resolution
    if resolution is None:
        raise MnsweepError("the file does not say its resolution", "add `res`, e.g. 224")
    classes = head[0].operator.arrays["weight"].shape[0] if head else CLASSES_WITHOUT_HEAD
    design = _design(stages, resolution, classes, _conventions(stages, source.family, given))
    layers = expand(design)
    named = dict(zip(_weighted_names(layers), [*stages, *head], strict=False))
    _check_pool(chain, layers)
    if source.scales:
        if not head:
            raise FormatError("is quantized and has no classifier")
        return design, _integers(chain, named, source, layers)
    return design, _weights(named, design, given)


def _weighted_names(layers: Sequence[Layer]) -> list[str]:
    return [layer.name for layer in layers if layer.weight_shape]


def _check_body(stages: Sequence[Stage]) -> None:
    """Raise `FormatError` unless the layers are a stem, then pairs of a depthwise and a pointwise convolution."""
    if len(stages) < 3 or len(stages) % 2 == 0:
        raise FormatError(f"has {len(stages)} convolutions before the pool; a MobileNet has a stem and pairs of them")
    for i, stage in enumerate(stages):
        operator, shape = stage.operator, stage.operator.arrays["weight"].shape
        before = stages[i - 1].operator.arrays["weight"].shape[0] if i else 3
        depthwise = i % 2 == 1
        wanted = (before, 1, 3, 3) if depthwise else (shape[0], before, 3, 3) if i == 0 else (shape[0], before, 1, 1)
        if operator.kind != o.CONV or shape != wanted or operator.groups != (before if depthwise else 1):
            what = "depthwise" if depthwise else "pointwise" if i else "first"
            raise misfit(operator.name, f"has weights of shape {shape}; the {what} convolution there has {wanted}")
        if operator.strides not in ((1, 1), (2, 2)):
            raise misfit(operator.name, f"has stride {operator.strides}")


def _design(stages: Sequence[Stage], resolution: int, classes: int, conventions: Sequence[str]) -> Design:
    """The design whose layers are these, sizes, padding and all; raises `FormatError` with the nearest miss."""
    activation = _activation(stages)
    blocks = [(dw.operator.strides[0], pw.operator.arrays["weight"].shape[0]) for dw, pw in _pairs(stages)]
    found: list[str] = []
    for variant in _variants(stages, [stride for stride, _ in blocks]):
        channels = [STEM_CHANNELS, *(channels for _, channels in VARIANTS[variant].blocks)]
        seen = [stages[0].operator.arrays["weight"].shape[0], *(channels for _, channels in blocks)]
        for rule in WIDTH_RULES:
            for convention in conventions:
                alpha = _alpha(channels, seen, rule, convention)
                if alpha is None:
                    continue
                settings: dict[str, Any] = {"width_rule": rule, "conv_padding": convention, "activation": activation}
                design = Design.of(alpha, resolution, variant=variant, classes=classes, **settings)
                if not (miss := next(_misses(design, stages), "")):
                    return design
                found.append(miss)
    raise FormatError(
        found[0] if found else "its channels or strides are those of no MobileNet", "only MobileNetV1 is imported"
    )


def _pairs(stages: Sequence[Stage]) -> list[tuple[Stage, Stage]]:
    return list(zip(stages[1::2], stages[2::2], strict=True))


def _variants(stages: Sequence[Stage], strides: list[int]) -> Iterator[str]:
    """The separable variants with these strides; with batch norm, those whose layers have biases too or not, as here."""
    has_norm = stages[0].batch_norm is not None
    biased = has_norm and all(stage.bias is not None and np.any(stage.bias) for stage in stages)
    for name, variant in VARIANTS.items():
        same = not variant.compares and variant.separable and [stride for stride, _ in variant.blocks] == strides
        if same and variant.bias == biased:
            yield name


def _activation(stages: Sequence[Stage]) -> str:
    names = {stage.activation for stage in stages}
    if len(names) > 1 or names == {"none"}:
        raise FormatError(f"its convolutions have different activations or none: {', '.join(sorted(names))}")
    (name,) = names
    if name not in choices("activation"):
        raise FormatError(f"its activation is {name}", f"known activations are {', '.join(choices('activation'))}")
    return name


def _alpha(channels: Sequence[int], seen: Sequence[int], rule: str, convention: str) -> float | None:
    """The shortest decimal that scales `channels` to those `seen`; None if there is none."""
    low, high = ALPHA_RANGE
    slack = 0 if rule == "paper" else ROUNDED_BY
    for base, count in zip(channels, seen, strict=True):
        low = max(low, (count - slack) / base) if count > FEWEST else low
        high = min(high, (count + 1 + slack) / base)
    for places in range(1, PLACES + 1):
        scale = 10**places
        for k in range(ceil(low * scale), floor(high * scale) + 1)[:MOST_TRIES]:
            if k and k <= ALPHA_RANGE[1] * scale and _widths(channels, k / scale, rule, convention) == list(seen):
                return float(k / scale)
    return None


def _widths(channels: Sequence[int], alpha: float, rule: str, convention: str) -> list[int]:
    design = Design.of(alpha, RESOLUTION_RANGE[0], width_rule=rule, conv_padding=convention)
    return [scaled(design, count) for count in channels]


def _conventions(stages: Sequence[Stage], family: str, given: Given) -> list[str]:
    """The conventions of padding to try; on even maps two of them come to the same, and the family's own goes first."""
    if given.conv_padding:
        return [given.conv_padding]
    explicit = any(isinstance(stage.padding, tuple) for stage in stages if stage.operator.strides == (2, 2))
    return ["keras", "symmetric", "same"] if explicit and family == "keras" else ["same", "keras", "symmetric"]


def _misses(design: Design, stages: Sequence[Stage]) -> Iterator[str]:
    """How the file's padding differs from the design's, layer by layer."""
    for layer, stage in zip((layer for layer in expand(design) if layer.op == "conv"), stages, strict=True):
        pads = stage.padding
        if not isinstance(pads, tuple):
            (before, after), _ = pad_and_size(layer.in_size, layer.kernel[0], layer.stride, pads)
            pads = (before, before, after, after)
        if pads != layer.pads or layer.weight_shape != stage.operator.arrays["weight"].shape:
            yield (
                f"operator {stage.operator.name} pads {layer.in_size} px by {pads}; no convention of a MobileNet does so "
                "in all layers"
            )


def _check_pool(chain: Chain, layers: Sequence[Layer]) -> None:
    pool = next(layer for layer in layers if layer.op == "global_pool")
    if chain.pool and chain.pool.kernel not in ((0, 0), pool.kernel):
        raise misfit(chain.pool.name, f"averages windows of {chain.pool.kernel}, not the whole map of {pool.kernel}")


def _weights(named: dict[str, Stage], design: Design, given: Given) -> Weights:
    arrays: dict[str, NDArray[np.float32]] = {}
    epsilons = {stage.batch_norm.epsilon for stage in named.values() if stage.batch_norm}
    if len(epsilons) > 1:
        raise FormatError(f"its batch norms have several epsilons: {', '.join(map(str, sorted(epsilons, key=str)))}")
    body = {name: stage for name, stage in named.items() if name != "classifier"}
    normed = [stage.batch_norm is not None for stage in body.values()]
    if any(normed) != all(normed):
        raise FormatError("some of its convolutions have batch norm, others not")
    for name, stage in named.items():
        weight = np.ascontiguousarray(stage.operator.arrays["weight"], np.float32)
        bias = None if stage.bias is None else np.asarray(stage.bias, np.float32)
        arrays[f"{name}.weight"] = weight.reshape(len(weight), -1) if name == "classifier" else weight
        if stage.batch_norm:
            arrays |= _norm(name, stage.batch_norm, bias, keeps_bias=VARIANTS[design.variant].bias)
        if not stage.batch_norm or VARIANTS[design.variant].bias:
            arrays[f"{name}.bias"] = np.zeros(len(weight), np.float32) if bias is None else bias
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise FormatError(f"layer {name}: {np.sum(~np.isfinite(array))} of {array.size} values are not finite numbers")
    epsilon = given.epsilon or next(iter(epsilons), None) or TF_EPSILON
    return Weights(arrays, epsilon, is_folded=not any(normed))


def _norm(name: str, norm: o.Operator, bias: NDArray[np.float32] | None, keeps_bias: bool) -> dict[str, NDArray[np.float32]]:
    parts = {f"{name}.{part}": np.asarray(norm.arrays[part], np.float32).reshape(-1) for part in BN_PARTS}
    if bias is not None and not keeps_bias:  # w·x + b − μ = w·x − (μ − b)
        parts[f"{name}.mean"] = parts[f"{name}.mean"] - bias
    return parts


def _integers(chain: Chain, named: dict[str, Stage], source: Source, layers: Sequence[Layer]) -> Integers:
    """The integers and all scales; a clipped activation must be what the range of its feature map does by itself."""
    maps = {IMAGE: chain.stages[0].operator.inputs[0], "pool": chain.pooled}
    maps |= {name: stage.output for name, stage in named.items()}
    arrays: dict[str, NDArray[Any]] = {}
    for name, found in maps.items():
        if found not in source.scales or source.scales[found].scale.ndim:
            raise FormatError(f"feature map {found} has no scale, or one per channel")
        scale = _unsigned(source.scales[found], found)
        arrays |= {f"{name}.scale": scale.scale, f"{name}.zero_point": scale.zero_point}
        if name in named and name != "classifier":
            _check_range(scale, named[name])
    for name, stage in named.items():
        arrays |= _integer_layer(name, stage)
    if Integers(arrays).is_per_channel:  # some files have one scale for the classifier alone
        for name in named:
            arrays |= {key: _per_channel(arrays[key], arrays[f"{name}.bias"]) for key in _scale_names(name)}
    return Integers(arrays)


def _scale_names(layer: str) -> tuple[str, str]:
    return f"{layer}.weight.scale", f"{layer}.weight.zero_point"


def _per_channel(array: NDArray[Any], of_channels: NDArray[Any]) -> NDArray[Any]:
    return array if array.ndim else np.full(of_channels.shape, array)


def _unsigned(scale: Scale, name: str) -> Scale:
    """The scale of a feature map with the zero point of its values as unsigned bytes."""
    zero_point = int(scale.zero_point) + SHIFT * scale.is_signed
    if not LEAST <= zero_point <= MOST:
        raise FormatError(f"feature map {name} has the zero point {scale.zero_point}")
    return replace(scale, zero_point=np.asarray(zero_point, np.uint8))


def _check_range(scale: Scale, stage: Stage) -> None:
    step, zero_point = float(scale.scale), int(scale.zero_point)
    low, high = step * (LEAST - zero_point), step * (MOST - zero_point)
    if low < -step / 2 or (stage.activation == "relu6" and high > SIX + step / 2):
        raise misfit(stage.operator.name, f"has values from {low:.3g} to {high:.3g}, beyond its {stage.activation}")


def _integer_layer(name: str, stage: Stage) -> dict[str, NDArray[Any]]:
    weight, scale = stage.operator.arrays["weight"], stage.operator.weight_scale
    if scale is None or stage.batch_norm:
        raise misfit(stage.operator.name, "is not quantized, and the others are")
    weight = np.ascontiguousarray(weight)
    zero_point = scale.zero_point.astype(weight.dtype)
    if not np.array_equal(zero_point, scale.zero_point) or np.unique(zero_point).size > 1:
        raise misfit(stage.operator.name, "has a zero point that its weights can't have, or several")
    bias = np.zeros(len(weight), np.int32) if stage.bias is None else np.asarray(stage.bias)
    if bias.dtype != np.int32:
        raise misfit(stage.operator.name, f"has a bias of {bias.dtype}, not int32")
    return {
        f"{name}.weight": weight.reshape(len(weight), -1) if name == "classifier" else weight,
        f"{name}.weight.scale": scale.scale,
        f"{name}.weight.zero_point": zero_point,
        f"{name}.bias": bias,
    }
