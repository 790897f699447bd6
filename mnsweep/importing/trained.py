"""A trained network, and our file for it: safetensors, with everything that its numbers need to be used in the metadata.

The file holds the arrays under the names of `graph/weights.py`, or those of `graph/integers.py` for a network that was trained
with quantization. One JSON document in its metadata says which network it is and where it comes from.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mnsweep.arch.expand import expand
from mnsweep.arch.layer import Layer
from mnsweep.cell import Cell, Deployment, Design, parse_cell
from mnsweep.decoding import DamagedError, from_json
from mnsweep.errors import MnsweepError
from mnsweep.graph.integers import Integers, check_integers
from mnsweep.graph.lowering import Range
from mnsweep.graph.weights import TF_EPSILON, Weights, check, folded_layers
from mnsweep.names import TASKS
from mnsweep.pictures.preprocessing import Preprocessing, from_document

KEY, SCHEMA_VERSION = "mnsweep", 1
SUFFIX = ".safetensors"
CLASSIFIER = "classifier"
_RANGE = ".range"  # the end of the names of arrays with a feature map's range


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a network comes from: the file that was imported, its hash, and what it said or what was assumed.

    `family` is one of `families.py`. `label_offset` is the number of outputs before the first class of the labels; None if
    unknown.
    """

    file: str
    sha256: str
    family: str
    _: KW_ONLY
    label_offset: int | None = None
    license: str = ""
    assumed: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained network: its design, its arrays, how pictures become its input, and where it comes from.

    `ranges` are those of its feature maps on pictures that it was trained on (`calibrated_on`, in words), with which its float
    weights are quantized; none for most sources.
    """

    design: Design
    weights: Weights | Integers
    preprocessing: Preprocessing
    provenance: Provenance
    ranges: Mapping[str, Range] = field(default_factory=dict)
    calibrated_on: str = ""

    @property
    def is_quantized(self) -> bool:
        """Whether it was trained with quantization."""
        return isinstance(self.weights, Integers)

    @property
    def cell(self) -> Cell:
        """The network as its source runs it."""
        return Cell(self.design, Deployment("int8" if self.is_quantized else "fp32"))

    @property
    def has_classifier(self) -> bool:
        """Whether it answers: some files hold the layers before the classifier alone."""
        return TASKS[self.design.task].head != CLASSIFIER or f"{CLASSIFIER}.weight" in self.weights.arrays

    def layers(self) -> tuple[Layer, ...]:
        """The layers that the arrays are for."""
        layers = expand(self.design)
        return layers if isinstance(self.weights, Weights) and not self.weights.is_folded else folded_layers(layers)

    def check(self) -> None:
        """Raise `MnsweepError` where an array is missing, has the wrong shape or holds a value that is not finite."""
        layers = self.layers() if self.has_classifier else self.layers()[:-1]
        if isinstance(self.weights, Integers):
            check_integers(layers, self.weights)
        else:
            check(layers, self.weights)
        for name, array in self.weights.arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise MnsweepError(f"{name} has values that are not finite numbers")

    def document(self) -> dict[str, Any]:
        """What the file's metadata and `mnsweep import --json` say."""
        about = self.provenance
        return {
            "cell": self.cell.id,
            "family": about.family,
            "quantized": self.is_quantized,
            "classes": self.design.classes if self.has_classifier else None,
            "label_offset": about.label_offset,
            "padding": self.design.conv_padding,
            "epsilon": None if isinstance(self.weights, Integers) or self.weights.is_folded else self.weights.epsilon,
            "preprocessing": self.preprocessing.document(),
            "source": about.file,
            "sha256": about.sha256,
            "license": about.license,
            "assumed": list(about.assumed),
            "ignored": list(about.ignored),
            "calibrated_on": self.calibrated_on,
        }


class _Document(msgspec.Struct, kw_only=True):
    """What is read back of a file's metadata; the rest is for people."""

    schema_version: int
    cell: str
    family: str
    quantized: bool
    label_offset: int | None
    epsilon: float | None
    preprocessing: dict[str, Any]
    source: str
    sha256: str
    license: str = ""
    assumed: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    calibrated_on: str = ""


def to_bytes(trained: Trained) -> bytes:
    """The file's content; equal networks have equal bytes."""
    document = {"schema_version": SCHEMA_VERSION, **trained.document(), "labels": list(trained.provenance.labels)}
    ranges = {f"{name}{_RANGE}": np.array(ends, np.float32) for name, ends in trained.ranges.items()}
    named = sorted({**trained.weights.arrays, **ranges}.items())
    arrays = {name: np.asarray(array, order="C") for name, array in named}
    return bytes(save(arrays, metadata={KEY: json.dumps(document)}))


def is_ours(path: Path) -> bool:
    """Whether a safetensors file was written by `mnsweep import` or `mnsweep train`; False for one that can't be read."""
    try:
        with safe_open(path, framework="numpy") as file:
            return KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def read_trained(path: Path) -> Trained:
    """The network in a file of ours. Raises `MnsweepError`, which names the file, for any other."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except OSError as error:
        raise MnsweepError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except (SafetensorError, ValueError, TypeError, KeyError) as error:  # types that numpy has not, among others
        raise MnsweepError(f"{path}: is not a safetensors file that can be read: {error}") from None
    if KEY not in metadata:
        raise MnsweepError(
            f"{path}: was not written by mnsweep", f"import it first: mnsweep import {path} --out weights{SUFFIX}"
        )
    try:
        trained = _trained(from_json(metadata[KEY], _Document), arrays)
        trained.check()
    except DamagedError as error:
        raise MnsweepError(f"{path}: its metadata is damaged: {error.what}") from None
    except MnsweepError as error:
        raise MnsweepError(f"{path}: {error.what}", error.fix) from None
    return trained


def _trained(document: _Document, arrays: Mapping[str, NDArray[Any]]) -> Trained:
    if document.schema_version != SCHEMA_VERSION:
        raise MnsweepError(f"has schema version {document.schema_version}, not {SCHEMA_VERSION}", "upgrade mnsweep")
    ranges = {name.removesuffix(_RANGE): _ends(name, array) for name, array in arrays.items() if name.endswith(_RANGE)}
    arrays = {name: array for name, array in arrays.items() if not name.endswith(_RANGE)}
    weights: Weights | Integers = Integers(arrays)
    if not document.quantized:
        is_folded = not any(name.endswith(".mean") for name in arrays)
        weights = Weights(arrays, document.epsilon or TF_EPSILON, is_folded)
    return Trained(
        design=parse_cell(document.cell).design,
        weights=weights,
        preprocessing=from_document(document.preprocessing),
        provenance=Provenance(
            document.source,
            document.sha256,
            document.family,
            label_offset=document.label_offset,
            license=document.license,
            assumed=document.assumed,
            ignored=document.ignored,
            labels=document.labels,
        ),
        ranges=ranges,
        calibrated_on=document.calibrated_on,
    )


def _ends(name: str, array: NDArray[Any]) -> Range:
    """The minimum and the maximum of a feature map. Raises `MnsweepError` for an array that is no range."""
    if array.shape != (2,) or array.dtype != np.float32 or not np.isfinite(array).all() or array[0] > array[1]:
        raise MnsweepError(f"{name} is no range of a feature map: (minimum, maximum) in float32")
    return float(array[0]), float(array[1])


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
