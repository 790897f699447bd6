"""`mnsweep export`: one network as an ONNX file."""

from dataclasses import dataclass, replace
from pathlib import Path

from mnsweep.app.asking import the_cell
from mnsweep.app.requests import ExportRequest, PickRequest
from mnsweep.arch.channel_padding import Channels
from mnsweep.cell import Cell
from mnsweep.errors import MnsweepError
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.names import PRECISIONS
from mnsweep.prepare.models import SEED, Prepared
from mnsweep.prepare.offers import prepare_export
from mnsweep.result import Result
from mnsweep.worker.proxy import CellError, NewWorker, WorkerProcess

SYMBOLIC = "symbolic"
RANDOM_WEIGHTS = "{path} has seeded random weights: it is for timing only, its answers mean nothing"
ROUNDED = "{path} holds {file}: the runtime rounds to {precision} when it loads the file, if it is told to"
WEIGHT_BITS = "{path} has weights of {bits} bits: {reason}"
SYNTHETIC_IMAGES = "{path} is calibrated on synthetic images, for timing only; for real ones use `calibration` FOLDER"

BITS_KEY, REASON_KEY = "int8_weight_bits", "int8_weight_bits_reason"  # in the metadata of the file
LONGEST_COUNT = 20  # digits
SMALLER = "choose fewer `classes` or a smaller `alpha`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A written file; `notes` say what it is fit for."""

    path: Path
    cell: Cell
    onnx_bytes: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRequest:
    """Where to write the file, and its contents apart from the cell; `setting` is the name of the setting for the path.

    `channels` are the deployed channels of the measured cell; None if there is no measurement. `symbolic` leaves the batch
    size open. `calibration` is a folder of images.
    """

    path: Path
    setting: str
    seed: int = SEED
    symbolic: bool = False
    channels: Channels | None = None
    calibration: Path | None = None


def export(request: ExportRequest, new_worker: NewWorker | None = None) -> Exported:
    """Write one network with seeded random weights. Raises `MnsweepError` on a bad value or if the file can't be written."""
    symbolic, machine = request.batch == SYMBOLIC, read_machine()
    if (rounded := PRECISIONS.get(str(request.space.precision))) and rounded.file != rounded.name:
        text = f"`precision` {rounded.name}: no file holds it, the runtime rounds when it loads {rounded.file}"
        raise MnsweepError(text, f"export `precision` {rounded.file}")
    if not symbolic and not (request.batch.isascii() and request.batch.isdigit() and len(request.batch) <= LONGEST_COUNT):
        raise MnsweepError(f"`batch` {request.batch}: a whole number of images, or '{SYMBOLIC}'")
    cell = the_cell(replace(request.space, batch="1" if symbolic else request.batch), machine)
    wanted = FileRequest(path=request.out, setting="out", seed=request.seed, symbolic=symbolic, calibration=request.calibration)
    return write_network(cell, wanted, machine, new_worker)


def export_choice(choice: Result, request: PickRequest, new_worker: NewWorker | None = None) -> Exported:
    """Write the chosen network as it was measured: with the same precision and deployed channels."""
    if request.export is None:
        raise MnsweepError("`export` names the file to write")
    wanted = FileRequest(path=request.export, setting="export", channels=choice.channels, calibration=request.calibration)
    return write_network(Cell(choice.design, choice.deployment), wanted, read_machine(), new_worker)


def write_network(cell: Cell, wanted: FileRequest, machine: Machine, new_worker: NewWorker | None = None) -> Exported:
    """Write the network of a cell with seeded random weights."""
    file = PRECISIONS[cell.deployment.precision].file
    int8 = PRECISIONS[cell.deployment.precision].quantized
    if wanted.calibration and not int8:
        raise MnsweepError(f"`calibration` {wanted.calibration}: only int8 is calibrated", "add `precision` int8")
    channels = {} if wanted.channels is None else {cell.id: wanted.channels}
    prepared = Prepared(weight_bits=machine.int8_weight_bits, seed=wanted.seed, channels=channels)
    if int8:
        prepared.notes = {BITS_KEY: str(machine.int8_weight_bits), REASON_KEY: machine.int8_weight_reason}
    prepare_export(prepared, cell, new_worker or WorkerProcess, wanted.calibration)
    path = wanted.path
    try:
        size = path.write_bytes(prepared.model_of(cell, symbolic=wanted.symbolic, exported=True))
    except CellError as error:
        raise MnsweepError(f"{cell.id}: {error}", SMALLER) from None
    except OSError as error:
        raise MnsweepError(f"`{wanted.setting}` {path}: {error.strerror}") from None
    notes = [RANDOM_WEIGHTS] + [ROUNDED] * (file != cell.deployment.precision) + [WEIGHT_BITS] * int8
    notes += [SYNTHETIC_IMAGES] * (int8 and wanted.calibration is None)
    about = {"path": path, "bits": machine.int8_weight_bits, "reason": machine.int8_weight_reason}
    about |= {"file": file, "precision": cell.deployment.precision}
    return Exported(path=path, cell=cell, onnx_bytes=size, notes=tuple(note.format(**about) for note in notes))
