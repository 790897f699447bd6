"""A file that classifies: an ONNX or TensorFlow Lite file as it is, or weights, for which one is built."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from onnx import load_model_from_string

from mnsweep.accuracy.labels import IMAGENET_CLASSES
from mnsweep.accuracy.scores import Probabilities
from mnsweep.app.requests import ClassifyRequest, EvaluateRequest
from mnsweep.cell import Cell
from mnsweep.errors import MnsweepError
from mnsweep.importing.families import label_offset
from mnsweep.importing.operators import SOFTMAX
from mnsweep.importing.read import READERS, import_file, read_source
from mnsweep.importing.self_description import CLASSIFY, described
from mnsweep.importing.trained import Trained
from mnsweep.machine.fingerprint import Machine
from mnsweep.names import PRECISIONS
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.prepare.models import Prepared
from mnsweep.prepare.offers import prepare_export
from mnsweep.tasks.kinds import kind_of
from mnsweep.worker.proxy import NewWorker

ONNX, TFLITE = ".onnx", ".tflite"
LITERT = "litert"
PASSED_ON = ("Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze")


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """A file's content, the runtime for it, and what it says of itself; `resolution` is in pixels.

    `labels` name its `outputs`; empty where nothing does. `task` is a name of `names/tasks.py`. A file that `has_softmax`
    answers with probabilities.
    """

    name: str
    content: bytes
    runtime: str
    precision: str
    resolution: int
    preprocessing: Preprocessing
    label_offset: int | None
    labels: tuple[str, ...]
    outputs: int | None
    has_softmax: bool = False
    task: str = CLASSIFY

    @property
    def is_final(self) -> bool:
        """Whether its outputs are its answers: no softmax follows."""
        return self.has_softmax or not kind_of(self.task).chooses


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How to run weights (`precision`, `runtime`), and what the user says of a file that says nothing of itself."""

    precision: str | None = None
    runtime: str | None = None
    mean: float | None = None
    std: float | None = None
    crop: str | None = None
    interpolation: str | None = None
    label_offset: int | None = None


def wanted_of(request: ClassifyRequest | EvaluateRequest) -> Wanted:
    """How the file of a request is to be run and fed."""
    return Wanted(precision=request.precision, runtime=request.runtime, **asdict(request.pixels))


def open_classifier(path: Path, wanted: Wanted, machine: Machine, new_worker: NewWorker) -> Classifier:
    """Read a file. Raises `MnsweepError` where it can't be read, or does not say how pictures become its input."""
    suffix = path.suffix.lower()
    if suffix == ONNX:
        return _onnx(path, wanted)
    if suffix == TFLITE and wanted.precision is None and (wanted.runtime or LITERT).partition(":")[0] == LITERT:
        return _tflite(path, wanted)
    if suffix not in READERS:
        fix = f"name an ONNX or TensorFlow Lite file, or weights ({', '.join(READERS)})"
        raise MnsweepError(f"{path}: is no file that classifies", fix)
    return of_weights(import_file(path), wanted, machine, new_worker)


def of_weights(trained: Trained, wanted: Wanted, machine: Machine, new_worker: NewWorker) -> Classifier:
    """The file that is built from weights: in their own precision unless `wanted` says otherwise."""
    deployment = replace(trained.cell.deployment, pad="none", runtime=wanted.runtime or trained.cell.deployment.runtime)
    cell = Cell(trained.design, replace(deployment, precision=wanted.precision or deployment.precision))
    prepared = Prepared(weight_bits=machine.int8_weight_bits, trained={trained.design: trained})
    prepare_export(prepared, cell, new_worker)
    return classifier_of(trained, prepared, cell, wanted)


def classifier_of(trained: Trained, prepared: Prepared, cell: Cell, wanted: Wanted) -> Classifier:
    """The file of a cell that has been prepared with its trained weights."""
    return Classifier(
        name=trained.provenance.file,
        content=prepared.model_of(cell),
        runtime=cell.deployment.runtime,
        precision=PRECISIONS[cell.deployment.precision].name,
        resolution=trained.design.resolution,
        preprocessing=_preprocessing(trained.preprocessing, wanted, trained.provenance.file),
        label_offset=trained.provenance.label_offset if wanted.label_offset is None else wanted.label_offset,
        labels=trained.provenance.labels,
        outputs=trained.design.classes,
        task=trained.design.task,
    )


def labelled_outputs(found: Probabilities, classifier: Classifier) -> Probabilities:
    """The outputs that labels are numbers of. Raises `MnsweepError` where nothing tells which is the first."""
    if not kind_of(classifier.task).chooses:
        return found
    if classifier.label_offset is None:
        if found.shape[1] in (IMAGENET_CLASSES, IMAGENET_CLASSES + 1):
            what = f"{classifier.name}: has {found.shape[1]:,} outputs and does not say whether one is a background"
            raise MnsweepError(what, "add `label_offset` 0, or 1 for a background")
        return found
    return found[:, classifier.label_offset :]


def _onnx(path: Path, wanted: Wanted) -> Classifier:
    content, model = _parsed(path)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    try:
        told = described(properties)
    except MnsweepError as error:
        raise MnsweepError(f"{path}: {error.what}", error.fix) from None
    images = {value.name: value for value in model.graph.input}
    for tensor in model.graph.initializer:
        images.pop(tensor.name, None)
    sizes = [[dim.dim_value for dim in image.type.tensor_type.shape.dim] for image in images.values()]
    if len(sizes) != 1 or len(sizes[0]) != 4 or sizes[0][1] != 3 or sizes[0][2] != sizes[0][3] or not sizes[0][2]:
        raise MnsweepError(f"{path}: its input is no square image of 3 channels, (batch, 3, R, R)")
    return Classifier(
        name=path.name,
        content=content,
        runtime=wanted.runtime or "onnxruntime",
        precision=wanted.precision or properties.get("precision", "fp32"),
        resolution=sizes[0][2],
        preprocessing=_preprocessing(told.preprocessing, wanted, path),
        label_offset=told.label_offset if wanted.label_offset is None else wanted.label_offset,
        labels=told.labels,
        outputs=_last_size(model.graph.output[0]) if model.graph.output else None,
        has_softmax=_ends_in_softmax(model.graph),
        task=told.task,
    )


def _last_size(value: Any) -> int | None:
    """The number of outputs, where the file gives it."""
    dims = value.type.tensor_type.shape.dim
    return (dims[-1].dim_value or None) if dims else None


def _ends_in_softmax(graph: Any) -> bool:
    """Whether the first output comes from a softmax, maybe reshaped or quantized after it."""
    writers = {output: node for node in graph.node for output in node.output}
    node = writers.get(graph.output[0].name) if graph.output else None
    for _ in range(len(graph.node)):
        if node is None or node.op_type not in PASSED_ON:
            break
        node = writers.get(node.input[0])
    return node is not None and node.op_type == "Softmax"


def _parsed(path: Path) -> tuple[bytes, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MnsweepError(f"{path}: {error.strerror}") from None
    try:
        return content, load_model_from_string(content)
    except DecodeError:
        raise MnsweepError(f"{path}: is not an ONNX file that can be read") from None


def _tflite(path: Path, wanted: Wanted) -> Classifier:
    source = read_source(path)
    if source.resolution is None:
        raise MnsweepError(f"{path}: its input is no square image of 3 channels, (batch, R, R, 3)")
    offset = label_offset(source.outputs or 0) if source.label_offset is None else source.label_offset
    return Classifier(
        name=path.name,
        content=path.read_bytes(),
        runtime=wanted.runtime or LITERT,
        precision="int8" if source.scales else "fp32",
        resolution=source.resolution,
        preprocessing=_preprocessing(source.preprocessing, wanted, path),
        label_offset=offset if wanted.label_offset is None else wanted.label_offset,
        labels=source.labels,
        outputs=source.outputs,
        has_softmax=any(operator.kind == SOFTMAX for operator in source.operators),
        task=source.task,
    )


def _preprocessing(known: Preprocessing | None, wanted: Wanted, where: object) -> Preprocessing:
    given = {name: value for name in ("mean", "std", "crop", "interpolation") if (value := getattr(wanted, name)) is not None}
    if known is None and not {"mean", "std"} <= {*given}:
        what = f"{where}: does not say how pictures become its input"
        raise MnsweepError(what, "add `mean` and `std`: input = (pixel − mean) / std; 127.5 and 127.5 for −1 to 1")
    return replace(known or Preprocessing(), **given)
