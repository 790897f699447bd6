"""What an ONNX file says of itself to whoever runs it: preprocessing, labels, and where its weights come from.

The keys are ONNX metadata, all of them text. `mnsweep classify` and `mnsweep evaluate` read them back.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from mnsweep.errors import MnsweepError
from mnsweep.importing.trained import Trained
from mnsweep.names import TASKS
from mnsweep.pictures.preprocessing import Preprocessing, from_document

PREFIX = "preprocessing."
TFLITE_KEY = "mnsweep"
LABELS, OFFSET, TASK = "labels", "label_offset", "task"
CLASSIFY = "classify"  # the task of a file that names none


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a file says: None or empty where it says nothing."""

    preprocessing: Preprocessing | None = None
    label_offset: int | None = None
    labels: tuple[str, ...] = ()
    task: str = CLASSIFY


def properties_of(trained: Trained) -> dict[str, str]:
    """The metadata of a file with these weights."""
    about, pixels = trained.provenance, trained.preprocessing
    settings = {"layout": "NCHW", "colour": "RGB", **asdict(pixels)}
    properties = {f"{PREFIX}{name}": str(value) for name, value in settings.items()}
    properties |= {"weights": about.file, "weights_sha256": about.sha256, "weights_family": about.family}
    if about.label_offset is not None:
        properties[OFFSET] = str(about.label_offset)
    if about.labels:
        properties[LABELS] = json.dumps(about.labels)
    if about.license:
        properties["weights_license"] = about.license
    return properties


def tflite_metadata(version: str, properties: Mapping[str, str]) -> dict[str, str]:
    """The same as one JSON document under the name `mnsweep`, for a TensorFlow Lite file."""
    return {TFLITE_KEY: json.dumps({"producer": f"mnsweep {version}", **properties}, ensure_ascii=False)}


def properties_in(text: str) -> dict[str, str]:
    """The properties in that document; empty where the text is not one."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in content.items()} if isinstance(content, dict) else {}


def described(properties: Mapping[str, str]) -> Described:
    """What these metadata say. Raises `MnsweepError` where a value is not what it should be."""
    pixels = {name.removeprefix(PREFIX): value for name, value in properties.items() if name.startswith(PREFIX)}
    try:
        offset = int(properties[OFFSET]) if OFFSET in properties else None
        labels = json.loads(properties.get(LABELS, "[]"))
    except ValueError:
        raise MnsweepError(f"its metadata {OFFSET} or {LABELS} is not what mnsweep writes") from None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise MnsweepError(f"its metadata {LABELS} is no list of texts")
    preprocessing = from_document(pixels) if {"mean", "std"} <= {*pixels} else None
    task = properties[TASK] if properties.get(TASK) in TASKS else CLASSIFY
    return Described(preprocessing=preprocessing, label_offset=offset, labels=tuple(labels), task=task)
