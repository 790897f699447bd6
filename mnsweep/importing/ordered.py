"""Operators for files that hold arrays alone: which convolution comes where follows from order and shapes.

Such files say nothing of strides, padding, epsilon and activation. Strides are those of the MobileNet with as many blocks;
the rest is that of the file's family, or what the user says.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnsweep.arch.layer import IMAGE
from mnsweep.errors import MnsweepError
from mnsweep.importing import operators as o
from mnsweep.importing.families import FAMILIES
from mnsweep.importing.operators import Operator, Padding, Source
from mnsweep.importing.problems import FormatError
from mnsweep.names import VARIANTS

KERNEL_AXES = 4


@dataclass(frozen=True, slots=True)
class Part:
    """One layer's arrays: `weight` in our layout, maybe `bias`, and for batch norm its four parts."""

    name: str
    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the family or the user says beside the arrays."""

    family: str
    conv_padding: str | None = None
    epsilon: float | None = None
    activation: str = "relu6"


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts `features.2` before `features.10`."""
    return [(0, int(word), "") if word.isdecimal() else (1, 0, word) for word in re.split(r"([0-9]+)", name) if word]


def source_of(convolutions: Sequence[Part], norms: Sequence[Part], head: Sequence[Part], told: Told) -> Source:
    """The operators of a MobileNet with these layers, each kind in the order of their names.

    Raises `FormatError` where there are too few of a kind, or batch norms that fit no order.
    """
    convolutions, norms, head = _in_network_order(convolutions, norms, head)
    family = FAMILIES[told.family]
    convention, epsilon = told.conv_padding or family.conv_padding, told.epsilon or family.epsilon
    if convention is None or (epsilon is None and norms):
        missing = "`conv_padding`" if convention is None else "`epsilon`"
        raise MnsweepError(f"holds arrays alone, of an unknown family: nothing tells its {missing[1:-1]}", f"add {missing}")
    assumed = [
        *[f"padding {convention}"] * (told.conv_padding is None),
        *[f"epsilon {epsilon:g}"] * (told.epsilon is None and bool(norms)),
        f"activation {told.activation}",
    ]
    built = list(_operators(convolutions, norms, head, convention, epsilon, told.activation))
    named = (f"{' and '.join(assumed)}: {family.label} {'have' if family.label.endswith('s') else 'has'} them",)
    return Source(family=told.family, operators=tuple(built), image=IMAGE, assumed=named)


def _in_network_order(
    convolutions: Sequence[Part], norms: Sequence[Part], head: Sequence[Part]
) -> tuple[list[Part], list[Part], list[Part]]:
    """The layers as they follow each other: the stem, which reads the image, then depthwise and pointwise ones in turn."""
    shapes = [part.arrays["weight"].shape for part in convolutions]
    places = {
        "stem": [i for i, shape in enumerate(shapes) if shape[1:] == (3, 3, 3)],
        "depthwise": [i for i, shape in enumerate(shapes) if shape[1:] == (1, 3, 3)],
        "pointwise": [i for i, shape in enumerate(shapes) if shape[2:] == (1, 1)],
    }
    if not head and len(places["pointwise"]) == len(places["depthwise"]) + 1:  # a classifier that is a convolution
        biased = [i for i in places["pointwise"] if "bias" in convolutions[i].arrays]
        place = biased[0] if len(biased) == 1 else places["pointwise"][-1]
        places["pointwise"].remove(place)
        head = [convolutions[place]]
    found = {kind: len(of_kind) for kind, of_kind in places.items()}
    if sum(found.values()) + len(head) < len(convolutions) or found["stem"] != 1 or found["depthwise"] != found["pointwise"]:
        others = len(shapes) - sum(found.values())
        counts = ", ".join(f"{count} {kind}" for kind, count in {**found, "other": others}.items())
        raise FormatError(f"has {counts} convolutions; a MobileNet has 1 stem, and as many depthwise as pointwise ones")
    pairs = zip(places["depthwise"], places["pointwise"], strict=True)
    order = [*places["stem"], *(i for pair in pairs for i in pair)]
    ordered = [convolutions[i] for i in order]
    if not norms:
        return ordered, [], list(head)
    if len(norms) != len(order):
        raise FormatError(f"has {len(order)} convolutions and {len(norms)} batch norms")
    same_names = sorted(order)  # norms are named as their convolutions are, or numbered through the network
    for candidate in ([norms[same_names.index(i)] for i in order], list(norms)):
        if [len(norm.arrays["mean"]) for norm in candidate] == [len(conv.arrays["weight"]) for conv in ordered]:
            return ordered, candidate, list(head)
    raise FormatError("its batch norms have other channels than its convolutions, in any order")


def _operators(
    convolutions: Sequence[Part],
    norms: Sequence[Part],
    head: Sequence[Part],
    convention: str,
    epsilon: float | None,
    activation: str,
) -> Iterator[Operator]:
    strides, before = _strides(len(convolutions)), IMAGE
    for i, (conv, stride) in enumerate(zip(convolutions, strides, strict=True)):
        weight = conv.arrays["weight"]
        groups = len(weight) if weight.ndim == KERNEL_AXES and weight.shape[1] == 1 and i else 1
        yield Operator(
            o.CONV,
            conv.name,
            (before,),
            conv.name,
            arrays=conv.arrays,
            strides=(stride, stride),
            padding=_padding(convention, stride, weight.shape, is_stem=i == 0),
            groups=groups,
        )
        before = conv.name
        if norms:
            yield Operator(o.BATCH_NORM, norms[i].name, (before,), norms[i].name, arrays=norms[i].arrays, epsilon=epsilon)
            before = norms[i].name
        active = f"{before} {activation}"
        yield Operator(o.ACTIVATION, active, (before,), active, activation=activation)
        before = active
    yield Operator(o.POOL, "pool", (before,), "pool")
    before = "pool"
    for part in head:
        yield Operator(o.LINEAR, part.name, (before,), part.name, arrays=part.arrays)
        before = part.name


def _strides(convolutions: int) -> list[int]:
    """The strides of the MobileNet with as many convolutions, stem and pointwise ones included."""
    for variant in VARIANTS.values():
        if not variant.compares and variant.separable and 1 + 2 * len(variant.blocks) == convolutions:
            return [2, *(stride for block_stride, _ in variant.blocks for stride in (block_stride, 1))]
    raise FormatError(f"has {convolutions} convolutions; no MobileNet has as many")


def _padding(convention: str, stride: int, shape: Sequence[int], *, is_stem: bool) -> Padding:
    if shape[2:] == (1, 1):
        return "valid"
    if convention == "symmetric":
        return (1, 1, 1, 1)
    return (0, 0, 1, 1) if convention == "keras" and stride > 1 and not is_stem else "same"


def batch_norm_part(name: str, arrays: Mapping[str, NDArray[Any]]) -> Part:
    """The four arrays of a batch norm; a missing scale is 1, a missing shift 0."""
    channels = len(arrays["mean"])
    return Part(name, {"scale": np.ones(channels, np.float32), "shift": np.zeros(channels, np.float32), **arrays})
