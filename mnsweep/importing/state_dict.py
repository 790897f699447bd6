"""Read the state dict of a PyTorch network from a safetensors file: timm's, Hugging Face's, or any in the order of its layers.

Names give the order (`features.2` before `features.10`) and say which arrays belong together; the shapes say what they are.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from mnsweep.importing.operators import Source
from mnsweep.importing.ordered import KERNEL_AXES, Part, Told, batch_norm_part, natural, source_of
from mnsweep.importing.problems import FormatError

MOST_ARRAYS = 10_000
NORM = {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "variance"}
COUNTERS = "num_batches_tracked"
MARKS = {  # an array's name that tells the family
    "huggingface": "conv_stem.convolution.weight",
    "timm": "blocks.0.0.conv_dw.weight",
}


def read(path: Path, conv_padding: str | None = None, epsilon: float | None = None) -> Source:
    """The operators that the arrays are for; `conv_padding` and `epsilon` are the user's, for a family that is not known."""
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            if len(names) > MOST_ARRAYS:
                raise FormatError(f"has {len(names):,} arrays")
            arrays = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise FormatError(f"is not a safetensors file that can be read: {error}") from None
    return source_of_state(arrays, conv_padding, epsilon)


def source_of_state(
    arrays: Mapping[str, NDArray[Any]], conv_padding: str | None = None, epsilon: float | None = None
) -> Source:
    """The operators of a network with this state dict. Raises `FormatError` where an array belongs to no layer."""
    family = next((name for name, mark in MARKS.items() if any(key.endswith(mark) for key in arrays)), "torch")
    modules: dict[str, dict[str, NDArray[Any]]] = {}
    for name in sorted(arrays, key=natural):
        module, _, part = name.rpartition(".")
        if part != COUNTERS:
            modules.setdefault(module, {})[part] = np.asarray(arrays[name], np.float32)
    convolutions: list[Part] = []
    norms: list[Part] = []
    head: list[Part] = []
    odd: list[str] = []
    for name, parts in modules.items():
        axes = parts["weight"].ndim if "weight" in parts else 0
        if "running_mean" in parts and "running_var" in parts and not {*parts} - {*NORM}:
            norms.append(batch_norm_part(name, {NORM[part]: array for part, array in parts.items()}))
        elif axes in (2, KERNEL_AXES) and not {*parts} - {"weight", "bias"}:
            (convolutions if axes == KERNEL_AXES else head).append(Part(name, parts))
        else:
            odd.append(f"{name}.{next(iter(parts))}")
    if odd:
        raise FormatError(f"arrays that no MobileNetV1 has: {', '.join(odd[:5])}{f' and {len(odd) - 5} more' * (len(odd) > 5)}")
    told = Told(family=family, conv_padding=conv_padding, epsilon=epsilon)
    return source_of(convolutions, norms, head, told)
