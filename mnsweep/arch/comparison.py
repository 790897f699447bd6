"""The networks that the paper compares MobileNets with, as layers.

Each network is text in a small notation; `mnsweep/names/variants.py` describes the notation and holds the networks.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from string import ascii_lowercase

from mnsweep.arch.layer import Layer, image
from mnsweep.cell import Design
from mnsweep.names import VARIANTS

_TOKEN = re.compile(r"[^\s\[\]|]+|[\[\]|]")
_CONV = re.compile(r"(?P<high>\d+)x(?P<wide>\d+)x(?P<channels>\d*)(?:/(?P<stride>\d))?(?P<valid>v?)(?:g(?P<groups>\d))?")
_POOL = re.compile(r"(?P<kind>max|avg)(?P<size>\d)(?:/(?P<stride>\d))?")


def network(design: Design) -> tuple[Layer, ...]:
    """The layers of a comparison network; its last layer with weights has `classes` outputs."""
    variant = VARIANTS[design.variant]
    builder = _Builder(design.classes, variant.batch_norm, image(design.resolution))
    builder.read(iter(_TOKEN.findall(variant.notation)))
    return tuple(builder.layers.values())


@dataclass(slots=True)
class _Builder:
    """The layers read so far, by name; `before` is the input of the next layer."""

    classes: int
    batch_norm: bool
    before: Layer
    layers: dict[str, Layer] = field(default_factory=dict)
    numbers: Counter[str] = field(default_factory=Counter)

    def read(self, tokens: Iterator[str], prefix: str = "") -> str:
        """Read layers to the end of the network, or of the branch named `prefix`; return the mark that ended it."""
        letters = iter(ascii_lowercase)
        for token in tokens:
            name, _, word = token.rpartition("=")
            if word in ("|", "]"):
                return word
            name = name or (prefix + next(letters) if prefix else "")
            if not word:  # `name=` before branches
                word = next(tokens)
            if word == "[":
                self.branches(tokens, name)
            else:
                self.add(self.layer(name, word))
        return ""

    def branches(self, tokens: Iterator[str], name: str) -> None:
        """Read branches up to their closing bracket, and concatenate their feature maps."""
        source, mark = self.before, "|"
        ends: list[Layer] = []
        while mark == "|":
            self.before = source
            mark = self.read(tokens, f"{name}_{len(ends) + 1}")
            ends.append(self.before)
        channels, size = sum(end.out_channels for end in ends), ends[0].out_size
        names = tuple(end.name for end in ends)
        self.add(Layer(name, "concat", names, in_channels=channels, out_channels=channels, in_size=size, out_size=size))

    def layer(self, name: str, word: str) -> Layer:
        """The layer for one word of the notation."""
        if match := _CONV.fullmatch(word):
            return self.conv(name or self.numbered("conv"), match)
        if match := _POOL.fullmatch(word):
            size, stride = int(match["size"]), int(match["stride"] or 1)
            return _pool(self.before, name or self.numbered("pool"), f"{match['kind']}_pool", size, stride)
        if word.startswith("lrn"):
            channels = int(word.removeprefix("lrn"))
            return self.before.then(name or self.numbered("norm"), "lrn", kernel=(channels, channels))
        if word == "mean":
            return self.before.global_pool("pool")
        if word == "fc":
            return self.before.linear("classifier", self.classes)
        return self.before.linear(self.numbered("fc"), int(word.removeprefix("fc")), activation="relu")

    def conv(self, name: str, match: re.Match[str]) -> Layer:
        """A convolution; without a channel count it has one output channel per class."""
        return self.before.conv(
            name,
            int(match["channels"] or self.classes),
            kernel=(int(match["high"]), int(match["wide"])),
            stride=int(match["stride"] or 1),
            convention="valid" if match["valid"] else "symmetric",
            groups=int(match["groups"] or 1),
            batch_norm=self.batch_norm,
            bias=not self.batch_norm,
            activation="relu",
        )

    def numbered(self, kind: str) -> str:
        """The next name of a kind: conv1, conv2, …."""
        self.numbers[kind] += 1
        return f"{kind}{self.numbers[kind]}"

    def add(self, layer: Layer) -> None:
        """Append a layer; the next layer reads it."""
        self.layers[layer.name] = self.before = layer


def _pool(before: Layer, name: str, op: str, kernel: int, stride: int) -> Layer:
    """A pool that keeps the size at stride 1 and covers the last pixel at larger strides (Caffe's ceil mode)."""
    size = before.out_size
    out_size = size if stride == 1 else -(-(size - kernel) // stride) + 1
    first = kernel // 2 if stride == 1 else 0
    last = (out_size - 1) * stride + kernel - size - first
    pads = (first, first, last, last)
    return before.then(name, op, out_size=out_size, kernel=(kernel, kernel), stride=stride, pads=pads)
