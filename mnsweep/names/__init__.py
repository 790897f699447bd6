"""Tables of tasks, variants, runtimes and precisions: all properties of a name are in its row, and nowhere else.

Each table is a plain dict from a name to its row, the default first. Tables are read at the time of use, so that an added
row (e.g. by a test) takes effect at once:

>>> TASKS["dogs"].classes, choices("precision")
(120, ('fp32', 'bf16', 'int8'))
"""

import re
from collections.abc import Mapping

from mnsweep.names.precisions import PRECISIONS, Precision
from mnsweep.names.runtimes import RUNTIMES, Runtime, runtime_named
from mnsweep.names.tasks import TASKS, Task
from mnsweep.names.variants import VARIANTS, Variant

__all__ = [
    "PRECISIONS",
    "RUNTIMES",
    "SETTINGS",
    "TASKS",
    "VARIANTS",
    "Precision",
    "Runtime",
    "Task",
    "Variant",
    "choices",
    "is_choice",
    "runtime_named",
]

SETTINGS: dict[str, Mapping[str, object]] = {  # settings that take a name, in column order, and their names
    "variant": VARIANTS,
    "task": TASKS,
    "width_rule": dict.fromkeys(("paper", "round8")),
    "conv_padding": dict.fromkeys(("same", "keras", "symmetric")),
    "activation": dict.fromkeys(("relu6", "relu")),
    "precision": PRECISIONS,
    "runtime": RUNTIMES,
}


def choices(setting: str) -> tuple[str, ...]:
    """The names that a setting takes, the default first."""
    return tuple(SETTINGS[setting])


def is_choice(setting: str, value: object) -> bool:
    """Whether a setting takes this value: one of its names, or a runtime with an option that it supports.

    >>> is_choice("runtime", "onnxruntime:CUDAExecutionProvider"), is_choice("runtime", "openvino:CUDAExecutionProvider")
    (True, False)
    """
    if not isinstance(value, str):
        return False
    if value in SETTINGS[setting]:
        return True
    name, colon, option = value.partition(":")
    pattern = RUNTIMES[name].option if setting == "runtime" and colon and name in RUNTIMES else ""
    return bool(pattern and re.fullmatch(pattern, option))
