"""Read a PyTorch checkpoint (.pth, .pt, .bin) through torch's loader of weights alone, which runs no pickled code."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from mnsweep.importing.operators import Source
from mnsweep.importing.problems import FormatError
from mnsweep.importing.state_dict import source_of_state

NESTS = ("state_dict", "model", "model_state_dict", "ema_state_dict", "net")  # where trainers put the arrays
PREFIXES = ("module.", "model.", "_orig_mod.")


def read(path: Path, conv_padding: str | None = None, epsilon: float | None = None) -> Source:
    """The operators of the network whose state dict the file holds. Raises `FormatError` for a pickle of anything else."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about versions of pickle
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise FormatError("holds more than arrays: pickled code is not run", "save a state dict, best as safetensors") from None
    except Exception as error:  # torch and pickle raise nearly anything for a damaged file
        raise FormatError(
            f"is no PyTorch file that can be read ({type(error).__name__})", "save its state dict again"
        ) from None
    for nest in NESTS:
        if isinstance(content, dict) and isinstance(content.get(nest), dict):
            content = content[nest]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise FormatError("holds no state dict")
    arrays = {str(name): value.float().numpy() for name, value in content.items()}
    for prefix in PREFIXES:
        if arrays and all(name.startswith(prefix) for name in arrays):
            arrays = {name.removeprefix(prefix): array for name, array in arrays.items()}
    return source_of_state(arrays, conv_padding, epsilon)
