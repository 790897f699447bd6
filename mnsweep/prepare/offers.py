"""What must be asked of a runtime: which precisions it offers here, and which channel counts are fast.

Worker processes answer before anything is timed. Each runtime has its own process, so that a crash affects no other runtime.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mnsweep.arch.channel_padding import NARROW, WIDE, chain, gains, padding
from mnsweep.arch.expand import expand
from mnsweep.arch.layer import Layer
from mnsweep.cell import PADS, Cell, Deployment
from mnsweep.errors import UnavailableError
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.quantize import assumed_ranges
from mnsweep.graph.tflite_lowering import build_tflite
from mnsweep.graph.weights import random_weights
from mnsweep.measure.probe import probe
from mnsweep.names import PRECISIONS, runtime_named
from mnsweep.prepare.calibration import calibrate
from mnsweep.prepare.models import SEED, TFLITE, Prepared
from mnsweep.worker.base import Offer
from mnsweep.worker.proxy import CellError, NewWorker, Worker


def prepare(prepared: Prepared, cells: Sequence[Cell], new_worker: NewWorker) -> None:
    """Complete `prepared` for `cells`: offers, resolved padding and int8 ranges. What it holds already is kept.

    Takes about a second for each runtime and precision with channel padding, and a fraction of a second for each int8 design.
    """
    for runtime in dict.fromkeys(cell.deployment.runtime for cell in cells):
        _ask(prepared, runtime, [cell for cell in cells if cell.deployment.runtime == runtime], new_worker)
    calibrate(prepared, cells, new_worker)


def prepare_export(prepared: Prepared, cell: Cell, new_worker: NewWorker, folder: Path | None = None) -> None:
    """Complete `prepared` for exporting one cell. A runtime is started only for `auto` padding or int8 calibration.

    `folder` holds pictures to calibrate on. Raises `UnavailableError` if the cell cannot be prepared on this machine.
    """
    pad = cell.deployment.pad
    if cell.id not in prepared.channels and pad != "auto":
        prepared.channels[cell.id] = padding(expand(cell.design), pad, {})
    if cell.id not in prepared.channels:
        _ask(prepared, cell.deployment.runtime, [cell], new_worker)
    calibrate(prepared, [cell], new_worker, folder)
    if reason := prepared.obstacle(cell):
        raise UnavailableError(f"{cell.id}: {reason}")


def not_offered(cells: Iterable[Cell], offer: Offer) -> dict[str, str]:
    """The cells of one runtime that are unavailable here, by id, with the reason and, where there is one, the fix."""
    if offer.obstacle:
        return {cell.id: offer.obstacle for cell in cells}
    has = ", ".join(offer.precisions)
    return {
        cell.id: f"{cell.deployment.runtime} {offer.version} offers no {cell.deployment.precision} on this CPU (it has {has})"
        for cell in cells
        if cell.deployment.precision not in offer.precisions
    }


def chains(precision: str, runtime: str = "onnxruntime") -> dict[int, bytes]:
    """The networks that a probe times, in the format of the runtime, by channel count."""
    return {count: _chain(chain(count), precision, runtime_named(runtime).file_format) for count in (*NARROW, *WIDE)}


def _chain(layers: Sequence[Layer], precision: str, file_format: str) -> bytes:
    ranges = assumed_ranges(layers) if PRECISIONS[precision].quantized else None
    build = build_tflite if file_format == TFLITE else build_onnx
    return build(layers, random_weights(layers, SEED), ranges=ranges)


def _ask(prepared: Prepared, runtime: str, cells: Sequence[Cell], new_worker: NewWorker) -> None:
    """Ask one runtime for its offer, and probe channel counts if a cell needs them; nothing is asked twice."""
    unresolved = [cell for cell in cells if cell.id not in prepared.channels]
    if runtime not in prepared.offers or any(_lacks_probe(prepared, cell.deployment) for cell in unresolved):
        with new_worker() as worker:
            worker.pin(1)
            if runtime not in prepared.offers:
                prepared.offers[runtime] = _offer(worker, runtime)
            prepared.skipped |= not_offered(cells, prepared.offers[runtime])
            for cell in unresolved:
                if cell.id not in prepared.skipped and _lacks_probe(prepared, cell.deployment):
                    _probe(prepared, cell.deployment, worker)
    prepared.skipped |= not_offered(cells, prepared.offers[runtime])
    for cell in unresolved:
        if cell.id not in prepared.skipped:
            _resolve(prepared, cell)


def _offer(worker: Worker, runtime: str) -> Offer:
    try:
        return worker.offer(runtime)
    except CellError as error:  # the runtime raised, or ended the process that loaded it
        return Offer(obstacle=f"{runtime} cannot be loaded: {error}")


def _lacks_probe(prepared: Prepared, deployment: Deployment) -> bool:
    key = deployment.runtime, deployment.precision
    return deployment.pad != "none" and key not in prepared.probes and key not in prepared.probe_failures


def _probe(prepared: Prepared, deployment: Deployment, worker: Worker) -> None:
    """Time the chains of one runtime and precision; a failure is reported for every cell that needs it, and not retried."""
    key = runtime, precision = deployment.runtime, deployment.precision
    try:
        prepared.probes[key] = probe(worker, chains(precision, runtime), Deployment(precision, runtime))
    except CellError as error:
        prepared.probe_failures[key] = str(error)


def _resolve(prepared: Prepared, cell: Cell) -> None:
    """Record the channels of a cell, or why they are unknown."""
    deployment = cell.deployment
    key = deployment.runtime, deployment.precision
    if deployment.pad == "auto" and key in prepared.probe_failures:
        prepared.failures[cell.id] = f"while probing channel counts: {prepared.probe_failures[key]}"
        return
    chain_ms = prepared.probes.get(key, {})
    channels = padding(expand(cell.design), deployment.pad, chain_ms)
    prepared.channels[cell.id] = channels
    if chain_ms and deployment.pad not in PADS and not gains(channels, chain_ms):
        gained = f"{deployment.runtime} gains nothing from padding to {deployment.pad} in {deployment.precision} by the probe"
        prepared.remarks[cell.id] = f"{gained}; it is measured all the same"
