"""The networks that the paper compares MobileNets with, as rows.

Each is a table in a small notation; spaces separate rows, and rows read the row before. `3x3x64` is a convolution with
64 output channels and ReLU (height × width × channels), `max3` and `avg3` pool 3 × 3 windows, `lrn5` normalizes across
5 channels. Behind it: `/2` the stride, `v` no padding (else half the kernel on every side), `g2` two groups.
`[a | b c | d]` are branches that read the same map, and whose maps are concatenated. A max pool with a stride
has no padding but what lets its last window end beyond the map (Caffe's ceil mode). Every convolution has a bias, or in
Inception V3 batch norm. Dropout and auxiliary classifiers, for training alone, are left out.

- `alexnet`: Krizhevsky et al. 2012, as Caffe's bvlc_alexnet: two groups in the 2nd, 4th and 5th convolution as on the
  paper's two GPUs, normalization before pooling. 227 px: on the 224 that the paper prints its 55 × 55 map does not come out.
- `squeezenet`: SqueezeNet 1.0, Iandola et al. 2016 (arXiv 1602.07360), Table 1, as its authors' Caffe model: 227 px.
- `vgg16`: Simonyan and Zisserman 2014 (arXiv 1409.1556), Table 1, configuration D.
- `googlenet`: Szegedy et al. 2014 (arXiv 1409.4842), Table 1, as Caffe's bvlc_googlenet: biases and local response
  normalization as in the paper, not the batch norm of torchvision's version.
- `inception-v3`: Szegedy et al. 2015 (arXiv 1512.00567), as torchvision's inception_v3, which counts the same as Keras's
  but for batch norm's scale. Average pools count their padding as zeros, as torchvision's do.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from string import ascii_lowercase

from mnsweep.arch.layer import Layer, pad_and_size
from mnsweep.cell import Design


def _inception(name: str, one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int) -> str:
    """GoogLeNet's module, with the columns of its Table 1."""
    branches = (f"1x1x{one}", f"1x1x{reduce3} 3x3x{three}", f"1x1x{reduce5} 5x5x{five}", f"max3 1x1x{pool}")
    return f"inception{name}=[{' | '.join(branches)}]"


def _fire(number: int, squeeze: int, expand: int) -> str:
    return f"fire{number}_squeeze=1x1x{squeeze} fire{number}=[1x1x{expand} | 3x3x{expand}]"


def _mixed_a(pool: int) -> str:
    return f"[1x1x64 | 1x1x48 5x5x64 | 1x1x64 3x3x96 3x3x96 | avg3 1x1x{pool}]"


def _mixed_c(c: int) -> str:
    long = f"1x1x{c} 7x1x{c} 1x7x{c} 7x1x{c} 1x7x192"
    return f"[1x1x192 | 1x1x{c} 1x7x{c} 7x1x192 | {long} | avg3 1x1x192]"


_MIXED_E = "[1x1x320 | 1x1x384 [1x3x384 | 3x1x384] | 1x1x448 3x3x384 [1x3x384 | 3x1x384] | avg3 1x1x192]"

ALEXNET = """11x11x96/4v lrn5 max3/2 5x5x256g2 lrn5 max3/2 3x3x384 3x3x384g2 3x3x256g2 max3/2"""
SQUEEZENET = f"""7x7x96/2v max3/2 {_fire(2, 16, 64)} {_fire(3, 16, 64)} {_fire(4, 32, 128)} max3/2 {_fire(5, 32, 128)}
    {_fire(6, 48, 192)} {_fire(7, 48, 192)} {_fire(8, 64, 256)} max3/2 {_fire(9, 64, 256)}"""
VGG16 = """3x3x64 3x3x64 max2/2 3x3x128 3x3x128 max2/2 3x3x256 3x3x256 3x3x256 max2/2
    3x3x512 3x3x512 3x3x512 max2/2 3x3x512 3x3x512 3x3x512 max2/2"""
GOOGLENET = f"""7x7x64/2 max3/2 lrn5 1x1x64 3x3x192 lrn5 max3/2
    {_inception("3a", 64, 96, 128, 16, 32, 32)} {_inception("3b", 128, 128, 192, 32, 96, 64)} max3/2
    {_inception("4a", 192, 96, 208, 16, 48, 64)} {_inception("4b", 160, 112, 224, 24, 64, 64)}
    {_inception("4c", 128, 128, 256, 24, 64, 64)} {_inception("4d", 112, 144, 288, 32, 64, 64)}
    {_inception("4e", 256, 160, 320, 32, 128, 128)} max3/2
    {_inception("5a", 256, 160, 320, 32, 128, 128)} {_inception("5b", 384, 192, 384, 48, 128, 128)}"""
INCEPTION_V3 = f"""3x3x32/2v 3x3x32v 3x3x64 max3/2 1x1x80 3x3x192v max3/2
    mixed1={_mixed_a(32)} mixed2={_mixed_a(64)} mixed3={_mixed_a(64)} mixed4=[3x3x384/2v | 1x1x64 3x3x96 3x3x96/2v | max3/2]
    mixed5={_mixed_c(128)} mixed6={_mixed_c(160)} mixed7={_mixed_c(160)} mixed8={_mixed_c(192)}
    mixed9=[1x1x192 3x3x320/2v | 1x1x192 1x7x192 7x1x192 3x3x192/2v | max3/2] mixed10={_MIXED_E} mixed11={_MIXED_E}"""

NETWORKS_AS_TEXT = {
    "alexnet": f"{ALEXNET} fc4096 fc4096 fc",
    "squeezenet": f"{SQUEEZENET} conv10=1x1x mean",
    "vgg16": f"{VGG16} fc4096 fc4096 fc",
    "googlenet": f"{GOOGLENET} mean fc",
    "inception-v3": f"{INCEPTION_V3} mean fc",
}
_TOKEN = re.compile(r"[^\s\[\]|]+|[\[\]|]")
_CONV = re.compile(r"(\d+)x(\d+)x(\d*)(?:/(\d))?(v?)(?:g(\d))?")
_POOL = re.compile(r"(max|avg)(\d)(?:/(\d))?")
_KINDS = {"max": "max_pool", "avg": "avg_pool"}


def network(design: Design) -> tuple[Layer, ...]:
    """The rows of a network to compare with; `classes` are the outputs of its last layer that has weights."""
    stack = _Stack(design.classes, design.variant == "inception-v3", {"image": (3, design.resolution)})
    stack.read(iter(_TOKEN.findall(NETWORKS_AS_TEXT[design.variant])))
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
