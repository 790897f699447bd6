"""`mnsweep export`: one network as an ONNX file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mnsweep.accuracy.labels import labels_for
from mnsweep.accuracy.published import published
from mnsweep.app.asking import the_cell
from mnsweep.app.checking import is_checked
from mnsweep.app.requests import ExportRequest, PickRequest
from mnsweep.app.weights import by_design, measured_weights, read_weights, space_of
from mnsweep.app.writing import check_target
from mnsweep.arch.channel_padding import Channels
from mnsweep.cell import Cell
from mnsweep.errors import MnsweepError
from mnsweep.importing.families import FAMILIES
from mnsweep.importing.read import READERS
from mnsweep.importing.self_description import LABELS
from mnsweep.importing.trained import Trained
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.names import PRECISIONS
from mnsweep.options import changed
from mnsweep.prepare.models import SEED, TFLITE, Prepared
from mnsweep.prepare.offers import prepare_export
from mnsweep.result import Result, quality_text
from mnsweep.space import Space
from mnsweep.sweep.store import SweepFolder
from mnsweep.sweep.trained import THESE
from mnsweep.wording import count_of
from mnsweep.worker.proxy import CellError, NewWorker, WorkerProcess

SYMBOLIC = "symbolic"
ONNX = "onnx"
FORMATS = (ONNX, TFLITE)
RANDOM_WEIGHTS = "{path} has seeded random weights: it is for timing only, its answers mean nothing"
OWN_WEIGHTS = "{path} has the weights of {source}"
OWN_INTEGERS = "{path} has the integers, scales and zero points of {source}, as they were trained"
DEQUANTIZED = "{path} is the float network that the integers of {source} stand for: another network, with other answers"
QUANTIZED_AFTERWARDS = "{path} has the weights of {source}, quantized after training: evaluate it before you rely on it"
UNCHECKED = "{path} was not run: LiteRT is not installed here (pip install 'mnsweep[litert]')"
ROUNDED = "{path} holds {file}: the runtime rounds to {precision} when it loads the file, if it is told to"
WEIGHT_BITS = "{path} has weights of {bits} bits: {reason}"
OWN_RANGES = "{path} is calibrated on {pictures}, whose ranges came with the weights"
SYNTHETIC_IMAGES = "{path} is calibrated on synthetic images, for timing only; for real ones use `calibration` FOLDER"

BITS_KEY, REASON_KEY = "int8_weight_bits", "int8_weight_bits_reason"  # in the metadata of the file
LONGEST_COUNT = 20  # digits
SMALLER = "choose fewer `classes` or a smaller `alpha`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A written file; `notes` say what it is fit for. `onnx_bytes` is its size, in any format."""

    path: Path
    file_format: str
    cell: Cell
    onnx_bytes: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRequest:
    """Where to write the file, and its contents apart from the cell; `setting` is the name of the setting for the path.

    `channels` are the deployed channels of the measured cell; None if there is no measurement. `symbolic` leaves the batch
    size open. `calibration` is a folder of images. Without `trained` weights, they are random with this `seed`.
    """

    path: Path
    setting: str
    seed: int = SEED
    symbolic: bool = False
    channels: Channels | None = None
    calibration: Path | None = None
    trained: Trained | None = None
    quality: str = ""
    file_format: str = ONNX


def export(request: ExportRequest, new_worker: NewWorker | None = None) -> Exported:
    """Write one network with seeded random weights. Raises `MnsweepError` on a bad value or if the file can't be written."""
    symbolic, machine = request.batch == SYMBOLIC, read_machine()
    if (rounded := PRECISIONS.get(str(request.space.precision))) and rounded.file != rounded.name:
        text = f"`precision` {rounded.name}: no file holds it, the runtime rounds when it loads {rounded.file}"
        raise MnsweepError(text, f"export `precision` {rounded.file}")
    if not symbolic and not (request.batch.isascii() and request.batch.isdigit() and len(request.batch) <= LONGEST_COUNT):
        raise MnsweepError(f"`batch` {request.batch}: a whole number of images, or '{SYMBOLIC}'")
    space = replace(request.space, batch="1" if symbolic else request.batch)
    trained, file_format = None, format_of(request.out, request.format)
    if request.trained.weights is not None:
        networks = read_weights(request.trained.weights)
        check_target("out", request.out, networks)
        trained, space = _trained_for(space, networks, changed(request.space))
    cell = the_cell(space, machine)
    wanted = FileRequest(
        path=request.out,
        setting="out",
        seed=request.seed,
        symbolic=symbolic,
        calibration=request.calibration,
        trained=trained,
        file_format=file_format,
    )
    return write_network(cell, wanted, machine, new_worker)


def format_of(path: Path, asked: str | None) -> str:
    """The format of a file: as asked, or by its ending. Raises `MnsweepError` where both contradict each other."""
    of_ending = {f".{name}": name for name in FORMATS}.get(path.suffix.lower())
    if asked is not None and asked not in FORMATS:
        raise MnsweepError(f"`format` {asked!r:.40} is unknown", f"choose from {', '.join(FORMATS)}")
    if of_ending is None and path.suffix.lower() in READERS:
        raise MnsweepError(
            f"`out` {path}: {path.suffix} is the ending of another format", f"let its name end in .{asked or ONNX}"
        )
    if asked and of_ending and asked != of_ending:
        raise MnsweepError(f"`format` {asked} and the file {path} contradict each other", f"let its name end in .{asked}")
    return asked or of_ending or ONNX


def _trained_for(space: Space, networks: Mapping[Path, Trained], asked: Mapping[str, object]) -> tuple[Trained, Space]:
    """The weights to export, and the space of their design: the only ones, or those that fit what was asked."""
    fitting: list[tuple[Trained, Space]] = []
    for trained in networks.values():
        try:
            fitting.append((trained, space_of(trained, space, asked)))
        except MnsweepError:
            if len(networks) == 1:
                raise
    exact = [pair for pair in fitting if pair[0].cell.deployment.precision == space.precision] or fitting
    if len(exact) != 1:
        fit = [repr(path.name) for path, trained in networks.items() if any(trained is pair[0] for pair in exact)]
        among = f": {', '.join(fit)}" if fit else f", of {', '.join(repr(path.name) for path in networks)}"
        what = f"`weights`: {count_of(len(exact), 'network')} fit what is asked for{among}"
        raise MnsweepError(what, "name `alpha`, `res` and `precision`, or one file")
    return exact[0]


def export_choice(choice: Result, request: PickRequest, folder: SweepFolder, new_worker: NewWorker | None = None) -> Exported:
    """Write the chosen network as it was measured: with the same precision, deployed channels and weights."""
    if request.export is None:
        raise MnsweepError("`export` names the file to write")
    wanted = FileRequest(
        path=request.export,
        setting="export",
        channels=choice.channels,
        calibration=request.calibration,
        trained=_weights_to_export(choice, request, folder),
        file_format=format_of(request.export, None),
        quality=quality_text(choice) + f" {choice.quality_metric} ({choice.quality_source})" if choice.quality_pct else "",
    )
    return write_network(Cell(choice.design, choice.deployment), wanted, read_machine(), new_worker)


def _weights_to_export(choice: Result, request: PickRequest, folder: SweepFolder) -> Trained | None:
    """The weights that a cell was measured with, or those that the user names instead; None if it had random ones."""
    if request.weights is None:
        return measured_weights(choice, folder, request.export)
    files = read_weights(request.weights)
    if request.export is not None:
        check_target("export", request.export, files)
    networks = by_design(files.values())
    if choice.design not in networks:
        raise MnsweepError(f"`weights` {request.weights}: holds none of {choice.cell}", "leave it out, or name others")
    return networks[choice.design]


def write_network(cell: Cell, wanted: FileRequest, machine: Machine, new_worker: NewWorker | None = None) -> Exported:
    """Write the network of a cell with seeded random weights."""
    file = PRECISIONS[cell.deployment.precision].file
    int8 = PRECISIONS[cell.deployment.precision].quantized
    if wanted.calibration and not int8:
        raise MnsweepError(f"`calibration` {wanted.calibration}: only int8 is calibrated", "add `precision` int8")
    if wanted.calibration and wanted.trained and wanted.trained.is_quantized:
        what = f"`calibration` {wanted.calibration}: a network that was trained with quantization has its own scales"
        raise MnsweepError(what, "leave it out")
    channels = {} if wanted.channels is None else {cell.id: wanted.channels}
    trained = {cell.design: wanted.trained} if wanted.trained else {}
    prepared = Prepared(weight_bits=machine.int8_weight_bits, seed=wanted.seed, channels=channels, trained=trained)
    if int8 and wanted.file_format == ONNX:
        prepared.notes = {BITS_KEY: str(machine.int8_weight_bits), REASON_KEY: machine.int8_weight_reason}
    if wanted.trained:
        prepared.notes = {**prepared.notes, **_about_weights(cell, wanted)}
    prepare_export(prepared, cell, new_worker or WorkerProcess, wanted.calibration)
    path, tflite = wanted.path, wanted.file_format == TFLITE
    unchecked = False
    try:
        content = prepared.model_of(cell, symbolic=wanted.symbolic, exported=True, file_format=wanted.file_format)
        if wanted.trained or tflite:
            unchecked = not is_checked(content, cell, prepared, wanted.file_format, new_worker or WorkerProcess)
        size = path.write_bytes(content)
    except CellError as error:
        raise MnsweepError(f"{cell.id}: {error}", SMALLER) from None
    except OSError as error:
        raise MnsweepError(f"`{wanted.setting}` {path}: {error.strerror}") from None
    is_own = wanted.trained is not None and wanted.trained.is_quantized
    notes = (
        [_weights_note(wanted.trained, int8)]
        + [ROUNDED] * (file != cell.deployment.precision)
        + [WEIGHT_BITS] * (int8 and not is_own and not tflite)
    )
    notes += [UNCHECKED] * (unchecked and tflite)
    if int8 and wanted.calibration is None and not is_own:
        notes.append(OWN_RANGES if wanted.trained and wanted.trained.ranges else SYNTHETIC_IMAGES)
    about = {"path": path, "bits": machine.int8_weight_bits, "reason": machine.int8_weight_reason}
    about |= {"file": file, "precision": cell.deployment.precision}
    about |= {"source": wanted.trained.provenance.file if wanted.trained else ""}
    about |= {"pictures": wanted.trained.calibrated_on if wanted.trained else ""}
    return Exported(
        path=path,
        file_format=wanted.file_format,
        cell=cell,
        onnx_bytes=size,
        notes=tuple(note.format(**about) for note in notes),
    )


def _about_weights(cell: Cell, wanted: FileRequest) -> dict[str, str]:
    """Labels of ImageNet, where the weights have none of their own, and the quality with its source, where it is known."""
    trained = wanted.trained
    assert trained is not None  # noqa: S101 - for the type checker
    about, own = trained.provenance, {}
    if not about.labels and about.label_offset is not None:
        own[LABELS] = json.dumps(labels_for((), trained.design.classes, about.label_offset, about.file), ensure_ascii=False)
    family = FAMILIES.get(about.family)
    known = published(cell, family.quality_source) if family and family.quality_source else None
    is_own = known is not None and PRECISIONS[cell.deployment.precision].quantized == trained.is_quantized
    quality = wanted.quality or (
        f"{known.quality_pct:g} % {known.metric} ({known.provenance}, {THESE})" if known and is_own else ""
    )
    return own | ({"quality": quality} if quality else {})


def _weights_note(trained: Trained | None, int8: bool) -> str:
    """What the file's answers are worth."""
    if trained is None:
        return RANDOM_WEIGHTS
    if trained.is_quantized:
        return OWN_INTEGERS if int8 else DEQUANTIZED
    return QUANTIZED_AFTERWARDS if int8 else OWN_WEIGHTS
