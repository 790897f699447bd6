"""The network that each row of the paper's tables refers to."""

from mnsweep.cell import Design
from mnsweep.names import VARIANTS
from mnsweep.reproduction.printed import Printed

_FIRST_COUNTED = 4  # the rows of Tables 1 to 3 are layers
_TASKS = {10: "dogs", 11: "planet", 12: "attributes", 14: "embedding"}
_VARIANTS = {
    "Conv MobileNet": "full-conv",
    "Shallow MobileNet": "shallow",
    "GoogleNet": "googlenet",
    "VGG 16": "vgg16",
    "Squeezenet": "squeezenet",
    "AlexNet": "alexnet",
    "Inception V3": "inception-v3",
    "PlaNet": "inception-v3",
    "PlaNet (Inception V3)": "inception-v3",
}
_DETECTORS = {
    "SSD 300 / MobileNet": "ssd",
    "Faster-RCNN 300 / MobileNet": "faster-rcnn",
    "Faster-RCNN 600 / MobileNet": "faster-rcnn",
}
# Printed as a second "0.75 MobileNet-128", but only 160 px gives its 166 M mult-adds.
_RESOLUTIONS = {(14, "0.75 MobileNet-128 (first row)"): 160}


def network_of(row: Printed) -> Design | None:
    """The network that a row counts or scores; None for rows about layers, and for networks that are not built here."""
    variant = _VARIANTS.get(row.model) or ("mobilenet" if "MobileNet" in row.model else None)
    if row.table < _FIRST_COUNTED or variant is None:
        return None
    task = _DETECTORS.get(row.model) or _TASKS.get(row.table, "classify")
    if VARIANTS[variant].compares:
        return Design.of(variant=variant, task=task)
    # The text suggests that PlaNet's MobileNet is the full one.
    resolution = _RESOLUTIONS.get((row.table, row.model)) or row.resolution or 224
    return Design.of(row.alpha or 1.0, resolution, variant=variant, task=task)
