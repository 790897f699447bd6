"""What a reader makes of a file: operators with arrays, in our layouts, whatever the format."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mnsweep.pictures.preprocessing import Preprocessing

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Padding: TypeAlias = str | tuple[int, int, int, int]  # `same`, `valid`, or (top, left, bottom, right)

CONV, LINEAR, BATCH_NORM, ACTIVATION, PAD = "conv", "linear", "batch_norm", "activation", "pad"
POOL, RESHAPE, SOFTMAX, NOTHING, AFFINE, BIAS = "pool", "reshape", "softmax", "nothing", "affine", "bias"


@dataclass(frozen=True, slots=True)
class Scale:
    """Affine quantization, real = scale · (q − zero point): both () for a whole tensor, or (channels,).

    `is_signed` says whether the bytes of a feature map are signed.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[Any]
    is_signed: bool = False


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a file; `kind` is one of the words above, or the operator's own name if the walker knows none.

    `name` is the file's. `inputs` are feature maps, not weights. By kind:

    - `conv`: `weight` (out, in / groups, height, width), maybe `bias` (out,); stride and padding; `groups`.
    - `linear`: `weight` (out, in), maybe `bias`. `bias` alone: `bias` (out,).
    - `batch_norm`: `scale`, `shift`, `mean`, `variance`, each (channels,), and `epsilon`.
    - `pad`: zeros around the map. `pool`: an average over windows of `kernel`, (0, 0) for the whole map.
    - `affine`: the image times `factor` plus `offset`, each (3,) or (), before the first layer.
    - `reshape`, `softmax`, and `nothing` (dropout, identity).

    `activation` is that of a fused operator, or of an `activation`. In a quantized file, `weight_scale` is of the weights,
    which are integers then, as the bias is.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    output: str
    _: KW_ONLY
    arrays: Arrays = field(default_factory=dict)
    strides: tuple[int, int] = (1, 1)
    padding: Padding = "valid"
    groups: int = 1
    kernel: tuple[int, int] = (0, 0)
    activation: str = "none"
    epsilon: float | None = None
    weight_scale: Scale | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The content of a file. `image` names the input, `resolution` is its size in pixels, None if the file does not say.

    `family` is the kind of source (`families.py`) that the reader recognized. `scales` are those of a quantized network's
    feature maps, by name; otherwise empty. `assumed` says what the file does not tell and the reader took from its family.
    `license` and `labels` are texts that the file carries, `outputs` and `label_offset` numbers where it says them.
    """

    family: str
    operators: tuple[Operator, ...]
    image: str
    resolution: int | None = None
    scales: Mapping[str, Scale] = field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    assumed: tuple[str, ...] = ()
    license: str = ""
    labels: tuple[str, ...] = ()
    outputs: int | None = None
    label_offset: int | None = None
    task: str = "classify"
