"""Lossless channel padding: the same network with channel counts that a runtime executes faster.

A padded channel has a zero filter and a zero bias. It stays 0 after every activation that maps 0 to 0, and the next
layer's weights for it are 0, so the logits do not change. `cost.py` counts the cost of padding on the padded layers.
Whether padding pays depends on the runtime: a blocked convolution leaves its fast path at a channel count that its
blocks do not divide, which can cost more than the padded channels.

The fast channel counts are measured, not looked up. A probe times chains of depthwise separable layers (`chain`): a narrow
chain on large feature maps and a wide chain on small ones, at channel counts with each `alignment`: 1, 2, 4 … 32. In each
chain, time grows as a power of the channel count, times a factor for the alignment. A count is rounded up to the multiple
at which the chain is fastest, if that gains more than `MARGIN`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log, prod
from typing import Any

from mnsweep.arch.layer import Layer, image
from mnsweep.cell import PAD_RANGE
from mnsweep.errors import MnsweepError

Channels = Mapping[int, int]  # deployed channels by logical channels, where they differ
ALIGNMENTS = (1, 2, 4, 8, 16, 32)
MARGIN = 0.03  # a wider layer must gain more than this: the probe and its model are inexact
NARROW, WIDE = (17, 18, 20, 24, 16, 32), (193, 194, 196, 200, 208, 192, 256)  # all alignments; the last two give the growth
NARROW_UP_TO = 64  # channels; layers with more are wide
CHAIN_SIZES = {NARROW: 80, WIDE: 20}  # pixels: a MobileNet at 160 to 224 px has layers of such widths at these sizes
PAIRS, CLASSES = 3, 10
KINDS_THAT_PAD = ("stem", "depthwise", "pointwise", "conv", "pool", "head")


def pad_channels(layers: Sequence[Layer], channels: Channels) -> tuple[Layer, ...]:
    """The deployed layers; the network's input and its outputs keep their channels."""
    if not channels:
        return tuple(layers)
    deployed: list[Layer] = []
    width = {"image": layers[0].in_channels}
    for layer in layers:
        inside = layer is not layers[-1]
        width[layer.name] = channels.get(layer.out_channels, layer.out_channels) if inside else layer.out_channels
        before, after = width[layer.inputs[0]], width[layer.name]
        groups = after if layer.groups > 1 or layer.kind == "depthwise" else 1
        deployed.append(replace(layer, in_channels=before, out_channels=after, groups=groups))
    return tuple(deployed)


def multiples_of(k: int, layers: Sequence[Layer]) -> dict[int, int]:
    """Deployed channels by logical ones: each channel count rounded up to a multiple of `k`; empty without padding."""
    return {count: up for count in _counts(layers) if (up := _round_up(count, k)) != count}


def padding(layers: Sequence[Layer], pad: str, chain_ms: Mapping[int, float]) -> dict[int, int]:
    """Deployed channels by logical ones for a `pad`: `none`, a multiple (e.g. `16`), or `auto` (see `where_it_pays`)."""
    if pad == "auto":
        return where_it_pays(layers, chain_ms)
    return {} if pad == "none" else multiples_of(int(pad), layers)


def where_it_pays(layers: Sequence[Layer], chain_ms: Mapping[int, float]) -> dict[int, int]:
    """Deployed channels by logical ones: each channel count rounded up to the multiple at which its layers should be fastest.

    `chain_ms` holds the probe's measurements: milliseconds of the chain at each of the counts `NARROW` and `WIDE`.
    """
    return {count: best for count in _counts(layers) if (best := _fastest(count, chain_ms)) != count}


def gains(channels: Channels, chain_ms: Mapping[int, float]) -> bool:
    """Whether the deployed channels should be faster than the logical ones: by more than `MARGIN` in the geometric mean."""
    ratios = [
        _expected_ms(after, chain_ms, before) / _expected_ms(before, chain_ms, before) for before, after in channels.items()
    ]
    return prod(ratios) < (1 - MARGIN) ** len(ratios)


def _fastest(count: int, chain_ms: Mapping[int, float]) -> int:
    """The smallest multiple within `MARGIN` of the fastest; `count` itself where that gains no more than `MARGIN`."""
    ms = {width: _expected_ms(width, chain_ms, count) for width in sorted({_round_up(count, k) for k in ALIGNMENTS})}
    least = min(ms.values())
    enough = next(width for width in ms if ms[width] <= least * (1 + MARGIN))
    return enough if ms[enough] * (1 + MARGIN) < ms[count] else count


def _expected_ms(count: int, chain_ms: Mapping[int, float], logical: int) -> float:
    """Milliseconds of a chain at `count`, from the probed count with the same alignment; `logical` selects the chain."""
    probed = NARROW if logical <= NARROW_UP_TO else WIDE
    before, after = probed[-2:]
    growth = log(chain_ms[after] / chain_ms[before]) / log(after / before)
    of_alignment = {alignment(c): c for c in reversed(probed)}
    nearest = of_alignment[alignment(count)]
    return chain_ms[nearest] * float((count / nearest) ** growth)


def alignment(count: int) -> int:
    """The largest of `ALIGNMENTS` that divides `count`."""
    return max(k for k in ALIGNMENTS if count % k == 0)


def _round_up(count: int, k: int) -> int:
    return -(-count // k) * k


def _counts(layers: Sequence[Layer]) -> list[int]:
    """The channel counts that may be padded: those of all layers but the last, in a network that is a chain of layers.

    Empty for networks that concatenate, crop or group feature maps: there the position of a channel matters, and all these
    networks have round counts already.
    """
    if not all(layer.kind in KINDS_THAT_PAD and layer.repeats == 1 for layer in layers):
        return []
    return sorted({layer.out_channels for layer in layers[:-1]})


def chain(count: int) -> tuple[Layer, ...]:
    """A stem and `PAIRS` depthwise separable pairs, all with `count` channels and one feature-map size, and a head."""
    size = next(size for counts, size in CHAIN_SIZES.items() if count in counts)
    settings: dict[str, Any] = {"batch_norm": True, "activation": "relu6"}
    layers = [image(2 * size).conv("stem", count, kernel=(3, 3), stride=2, **settings)]
    for i in range(1, PAIRS + 1):
        depthwise = layers[-1].conv(f"depthwise{i}", count, kernel=(3, 3), groups=count, **settings)
        layers += [depthwise, depthwise.conv(f"pointwise{i}", count, **settings)]
    pool = layers[-1].global_pool("pool")
    return (*layers, pool, pool.linear("classifier", CLASSES))


def to_text(channels: Channels) -> str:
    """The resolved padding as text for measurement keys and tables, e.g. `9>12 19>20`; empty without padding."""
    return " ".join(f"{logical}>{deployed}" for logical, deployed in sorted(channels.items()))


def from_text(text: str) -> dict[int, int]:
    """The channels that `to_text` wrote; raises `MnsweepError` on other text."""
    try:
        pairs = [pair.split(">") for pair in text.split()]
        channels = {int(logical): int(deployed) for logical, deployed in pairs}
    except ValueError:
        raise MnsweepError(f"channel padding {text!r:.80} is not a list of channels", "write it like 9>12 19>20") from None
    for logical, deployed in channels.items():
        if not 0 < logical < deployed < logical + PAD_RANGE[1]:
            raise MnsweepError(
                f"channel padding {logical}>{deployed} is not one that mnsweep makes", "write it like 9>12 19>20"
            )
    return channels
