"""From cells to the files that run: what a runtime offers, what `auto` padding comes to, int8 scales, models.

What only a runtime can tell is asked of worker processes, before anything is timed: one for each runtime, so
that one that crashes takes nothing else with it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from mnsweep.arch.channel_padding import NARROW, WIDE, Channels, chain, gains, pad_channels, padding
from mnsweep.arch.expand import Layer, expand
from mnsweep.cell import PADS, Cell, Deployment, Design
from mnsweep.errors import UnavailableError
from mnsweep.graph.file_size import SYNTHETIC
from mnsweep.graph.lowering import Range
from mnsweep.graph.onnx_file import build_onnx, build_open_onnx
from mnsweep.graph.quantize import assumed_ranges
from mnsweep.graph.weights import padded, random_weights
from mnsweep.machine.fingerprint import read_machine
from mnsweep.measure.probe import probe
from mnsweep.measure.record import Probes
from mnsweep.names import PRECISIONS
from mnsweep.prepare.images import read_images, synthetic_images
from mnsweep.worker.base import Offer
from mnsweep.worker.proxy import CellError, Worker

SEED = 0  # of the random weights and images
Ranges = Mapping[str, Range]
NewWorker = Callable[[], Worker]


@dataclass(slots=True)
class Prepared:
    """What cells need beside their settings, found out once, before anything is timed.

    What their padding came to by cell id, and the probes that say so; int8 ranges by design; the version of each runtime;
    and by cell id, with the reason, what does not run here (`skipped`), what failed meanwhile (`failures`), and what
    the user would want to know of a setting (`remarks`). `seed` is of the random weights, `calibration` says on what
    images ranges were found, `weight_bits` how many bits int8 weights take on this processor.
    """

    seed: int = SEED
    calibration: str = SYNTHETIC
    weight_bits: int = field(default_factory=lambda: read_machine().int8_weight_bits)
    channels: dict[str, Channels] = field(default_factory=dict)
    probes: Probes = field(default_factory=dict)
    ranges: dict[Design, Ranges] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    def layers_of(self, cell: Cell) -> tuple[Layer, ...]:
        """The rows that run."""
        return pad_channels(expand(cell.design), self.channels[cell.id])

    def model_of(self, cell: Cell, batch: int | None = 0) -> bytes:
        """The ONNX file that is timed: the network with seeded random weights; `batch=None` is symbolic, 0 the cell's.

        Raises `CellError` for a cell that failed already, or does not run here.
        """
        if reason := self.failures.get(cell.id) or self.skipped.get(cell.id):
            raise CellError(reason)
        deployed = self.layers_of(cell)
        weights = padded(random_weights(expand(cell.design), self.seed), deployed)
        ranges = self.ranges[cell.design] if PRECISIONS[cell.deployment.precision].quantized else None
        images = cell.deployment.batch if batch == 0 else batch
        return build_onnx(deployed, weights, images, ranges, self.calibration, self.weight_bits)


def prepare(
    new_worker: NewWorker, cells: Sequence[Cell], kept: Mapping[str, Channels], probes: Probes | None = None
) -> Prepared:
    """Find out what `cells` need; those with `kept` channels were measured so before, and keep them, as do earlier `probes`.

    About a second for each runtime and precision that pads by itself, and a fraction of one for each int8 design.
    """
    prepared = Prepared(channels=dict(kept), probes=dict(probes or {}))
    for runtime in dict.fromkeys(cell.deployment.runtime for cell in cells):
        its = [cell for cell in cells if cell.deployment.runtime == runtime]
        with new_worker() as worker:
            worker.pin(1)
            _ask_runtime(worker, runtime, its, prepared)
    quantized = [c for c in cells if PRECISIONS[c.deployment.precision].quantized and c.id not in prepared.skipped]
    if quantized:
        calibrate(new_worker, quantized, prepared)
    return prepared


def prepare_export(
    new_worker: NewWorker, cell: Cell, seed: int = SEED, kept: Channels | None = None, folder: Path | None = None
) -> Prepared:
    """What the file of one cell needs; a runtime is asked only where its padding or its int8 scales need one.

    `kept` are the channels that it was measured with, `folder` holds pictures to calibrate on. Raises
    `UnavailableError` when the runtime can't tell.
    """
    prepared = Prepared(seed=seed)
    how, layers = cell.deployment, expand(cell.design)
    if kept is None and how.pad == "auto":
        with new_worker() as worker:
            worker.pin(1)
            _ask_runtime(worker, how.runtime, [cell], prepared)
    else:
        prepared.channels[cell.id] = padding(layers, how.pad, {}) if kept is None else kept
    if PRECISIONS[how.precision].quantized and not prepared.skipped:
        calibrate(new_worker, [cell], prepared, folder)
    if reason := prepared.skipped.get(cell.id) or prepared.failures.get(cell.id):
        raise UnavailableError(f"{cell.id}: {reason}")
    return prepared


def not_offered(cells: Iterable[Cell], offer: Offer) -> dict[str, str]:
    """The cells of one runtime that do not run here, by id, with the reason and the mend."""
    if offer.obstacle:
        return {cell.id: offer.obstacle for cell in cells}
    has = ", ".join(offer.precisions)
    return {
        cell.id: f"{how.runtime} {offer.version} offers no {how.precision} on this CPU (it has {has})"
        for cell in cells
        if (how := cell.deployment).precision not in offer.precisions
    }


def chains(precision: str) -> dict[int, bytes]:
    """The networks that a probe times, by their channel count."""
    return {count: _chain(chain(count), precision) for count in (*NARROW, *WIDE)}


def _chain(layers: Sequence[Layer], precision: str) -> bytes:
    ranges = assumed_ranges(layers) if PRECISIONS[precision].quantized else None
    return build_onnx(layers, random_weights(layers, SEED), ranges=ranges)


def _ask_runtime(worker: Worker, runtime: str, cells: Sequence[Cell], prepared: Prepared) -> None:
    try:
        offer = worker.offer(runtime)
    except CellError as error:  # it raised, or ended the process that loaded it
        offer = Offer(obstacle=f"{runtime} can't be loaded: {error}")
    prepared.skipped |= not_offered(cells, offer)
    if not offer.obstacle:
        prepared.versions[runtime] = offer.version
    failed: dict[str, CellError] = {}
    for cell in cells:
        precision, pad = cell.deployment.precision, cell.deployment.pad
        if cell.id in prepared.channels or cell.id in prepared.skipped:
            continue
        if pad != "none" and (runtime, precision) not in prepared.probes and precision not in failed:
            try:
                prepared.probes[runtime, precision] = probe(worker, chains(precision), Deployment(precision, runtime))
            except CellError as error:
                failed[precision] = error  # to be said of every cell that needs it, not tried again
        if pad == "auto" and precision in failed:
            prepared.failures[cell.id] = f"while probing channel counts: {failed[precision]}"
            continue
        chain_ms = prepared.probes.get((runtime, precision), {})
        prepared.channels[cell.id] = padding(expand(cell.design), pad, chain_ms)
        prepared.remarks |= _remark(cell, prepared.channels[cell.id], chain_ms) if chain_ms else {}


def _remark(cell: Cell, channels: Channels, chain_ms: Mapping[int, float]) -> dict[str, str]:
    how = cell.deployment
    if how.pad in PADS or gains(channels, chain_ms):
        return {}
    gained = f"{how.runtime} gains nothing from --pad {how.pad} in {how.precision} by the probe"
    return {cell.id: f"{gained}; it is measured all the same"}


def calibrate(new_worker: NewWorker, cells: Sequence[Cell], prepared: Prepared, folder: Path | None = None) -> None:
    """Find the values that every map of an int8 design takes: over the pictures in `folder`, or seeded synthetic ones."""
    read = synthetic_images if folder is None else partial(read_images, folder)
    images = cache(read)
    first = images(cells[0].design.resolution)  # what can't be read is said before a process starts
    prepared.calibration = SYNTHETIC if folder is None else f"{len(first)} images"
    with new_worker() as worker:
        worker.pin(1)
        for cell in cells:
            try:
                if cell.design not in prepared.ranges:
                    model = _open_model(cell.design, prepared.seed)
                    prepared.ranges[cell.design] = worker.ranges(model, images(cell.design.resolution))
            except CellError as error:
                prepared.failures[cell.id] = f"while calibrating: {error}"


def _open_model(design: Design, seed: int) -> bytes:
    layers = expand(design)
    return build_open_onnx(layers, random_weights(layers, seed))
