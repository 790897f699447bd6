"""The networks that the paper compares MobileNets with, as layers.

Each is text in a small notation: `mnsweep/names/variants.py` describes it, and holds the networks.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from string import ascii_lowercase

from mnsweep.arch.layer import Layer, pad_and_size
from mnsweep.cell import Design
from mnsweep.names import VARIANTS

_TOKEN = re.compile(r"[^\s\[\]|]+|[\[\]|]")
_CONV = re.compile(r"(\d+)x(\d+)x(\d*)(?:/(\d))?(v?)(?:g(\d))?")
_POOL = re.compile(r"(max|avg)(\d)(?:/(\d))?")
_KINDS = {"max": "max_pool", "avg": "avg_pool"}


def network(design: Design) -> tuple[Layer, ...]:
    """The rows of a network to compare with; `classes` are the outputs of its last layer that has weights."""
    stack = _Stack(design.classes, VARIANTS[design.variant].batch_norm, {"image": (3, design.resolution)})
    stack.read(iter(_TOKEN.findall(VARIANTS[design.variant].notation)))
    return tuple(stack.rows)


@dataclass(slots=True)
class _Stack:
    """Rows as they pile up: channels and size of every map, and the map that the next row reads."""

    classes: int
    batch_norm: bool
    maps: dict[str, tuple[int, int]]
    rows: list[Layer] = field(default_factory=list)
    before: str = "image"
    numbers: Counter[str] = field(default_factory=Counter)

    def read(self, tokens: Iterator[str], prefix: str = "") -> str:
        """Rows up to the end of the network, or of a branch named `prefix`; the mark that ended it."""
        letters = iter(ascii_lowercase)
        for token in tokens:
            name, _, word = token.rpartition("=")
            if word in ("|", "]"):
                return word
            name = name or (prefix + next(letters) if prefix else "")
            if not word:  # a name, and the branches behind it
                word = next(tokens)
            if word == "[":
                self.branches(tokens, name)
            else:
                self.row(name, word)
        return ""

    def branches(self, tokens: Iterator[str], name: str) -> None:
        """Branches up to their closing bracket, and the concatenation of their maps."""
        source, mark = self.before, "|"
        ends: list[str] = []
        while mark == "|":
            self.before = source
            mark = self.read(tokens, f"{name}_{len(ends) + 1}")
            ends.append(self.before)
        channels, size = sum(self.maps[end][0] for end in ends), self.maps[ends[0]][1]
        self.add(Layer(name, "concat", tuple(ends), channels, channels, size, size))

    def row(self, name: str, word: str) -> None:
        """One word of the notation."""
        channels, size = self.maps[self.before]
        if match := _CONV.fullmatch(word):
            self.conv(name or self.numbered("conv"), *match.groups())
        elif match := _POOL.fullmatch(word):
            self.pool(name or self.numbered("pool"), _KINDS[match[1]], int(match[2]), int(match[3] or 1))
        elif word.startswith("lrn"):
            self.add(Layer(name or self.numbered("norm"), "lrn", (self.before,), channels, channels, size, size, int(word[3:])))
        elif word == "mean":
            self.add(Layer("pool", "global_pool", (self.before,), channels, channels, size, 1, size))
        elif word == "fc":
            self.add(Layer("classifier", "linear", (self.before,), channels, self.classes, size, 1, bias=True))
        else:
            out, name = int(word.removeprefix("fc")), self.numbered("fc")
            self.add(Layer(name, "linear", (self.before,), channels, out, size, 1, bias=True, activation="relu"))

    def conv(self, name: str, high: str, wide: str, out: str, stride: str | None, valid: str, groups: str | None) -> None:
        """A convolution; `out` is empty where it makes the classes."""
        (channels, size), kernel, step = self.maps[self.before], int(high), int(stride or 1)
        padding, out_size = pad_and_size(size, kernel, step, "valid" if valid else "symmetric")
        row = Layer(name, "conv", (self.before,), channels, int(out or self.classes), size, out_size, kernel, step, padding)
        row = row._replace(groups=int(groups or 1), activation="relu", across=0 if wide == high else int(wide))
        self.add(row._replace(batch_norm=self.batch_norm, bias=not self.batch_norm))

    def pool(self, name: str, op: str, kernel: int, stride: int) -> None:
        """A pool that keeps the map's size at stride 1, and takes in the map's last pixel at others."""
        channels, size = self.maps[self.before]
        out_size = size if stride == 1 else -(-(size - kernel) // stride) + 1
        before = kernel // 2 if stride == 1 else 0
        padding = (before, (out_size - 1) * stride + kernel - size - before)
        self.add(Layer(name, op, (self.before,), channels, channels, size, out_size, kernel, stride, padding))

    def numbered(self, kind: str) -> str:
        """The next name of a kind: conv1, conv2, …."""
        self.numbers[kind] += 1
        return f"{kind}{self.numbers[kind]}"

    def add(self, row: Layer) -> None:
        """A row, and the map that it writes."""
        self.rows.append(row)
        self.maps[row.name] = (row.out_channels, row.out_size)
        self.before = row.name
