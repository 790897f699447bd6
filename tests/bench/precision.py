"""int8 and bf16: our int8 recipe against every other of onnxruntime's, what precision gains, and OpenVINO's own tool."""

import contextlib
import io
import json
import logging
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np

import mnsweep
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Deployment, Design, parse_cell
from mnsweep.choice.ranking import Choice
from mnsweep.graph.matrix_product import MULT_ADDS, build_product
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.tflite_lowering import build_tflite
from mnsweep.graph.weights import random_weights
from mnsweep.machine.fingerprint import read_machine
from mnsweep.prepare.models import Prepared
from mnsweep.prepare.offers import prepare
from mnsweep.worker.proxy import CellError, WorkerProcess
from tests.bench.figure import Figures
from tests.bench.interleave import ONE_THREAD, interleaved
from tests.bench.peers import DEFAULT, measured

DESIGN = Design.of(1.0, 224)
ALTERNATIONS, APP_SECONDS = 5, 3
LITERT = "LiteRT's defaults"
BEST = 3  # other recipes that are timed again


def recipes(fp32: bytes, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every recipe of onnxruntime's static quantization that changes what runs."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [np.random.default_rng(i).uniform(-1, 1, (1, 3, 224, 224)).astype(np.float32) for i in range(2)]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return {"image": self.left.pop()} if self.left else None

    logging.disable(logging.WARNING)
    source, target = folder / "fp32.onnx", folder / "int8.onnx"
    source.write_bytes(fp32)
    signed, unsigned = QuantType.QInt8, QuantType.QUInt8
    types = [(signed, signed), (unsigned, signed), (unsigned, unsigned)]
    for (maps, weights), per_channel, form, symmetric in product(types, (True, False), QuantFormat, (False, True)):
        with contextlib.redirect_stdout(io.StringIO()):
            quantize_static(
                source,
                target,
                Images(),
                quant_format=form,
                per_channel=per_channel,
                activation_type=maps,
                weight_type=weights,
                extra_options={"ActivationSymmetric": symmetric},
            )
        name = f"{maps.name}/{weights.name} {'per channel' if per_channel else 'per tensor'} {form.name}"
        yield name + " symmetric" * symmetric, target.read_bytes()


def against_other_recipes(figures: Figures, fp32: bytes, int8: bytes, folder: Path) -> None:
    models = {"fp32": (fp32, ONE_THREAD), "ours": (int8, Deployment("int8"))}
    models |= {name: (model, Deployment("int8")) for name, model in recipes(fp32, folder)}
    found = interleaved(_that_run(models), rounds=12)
    for name, e in sorted(found.items(), key=lambda item: item[1].p50_ms):
        print(f"           {e.p50_ms:7.3f} ms  {name}")
    others = sorted((name for name in found if name not in ("ours", "fp32")), key=lambda name: found[name].p50_ms)
    again = interleaved({name: models[name] for name in ("ours", *others[:BEST])}, rounds=40)  # the luck of the first is out
    fastest = min(again[name].p50_ms for name in others[:BEST])
    figures.at_most("our int8 recipe against the fastest other one", again["ours"].p50_ms / fastest, 1.03, "×")
    figures.report("int8 gains over fp32, onnxruntime", found["fp32"].p50_ms / found["ours"].p50_ms, "×")


def _that_run(models: dict[str, tuple[bytes, Deployment]]) -> dict[str, tuple[bytes, Deployment]]:
    runs = {}
    with WorkerProcess() as worker:
        for name, (model, how) in models.items():
            try:
                worker.open(name, model, how)
                runs[name] = (model, how)
            except CellError as error:
                print(f"           does not run: {name}: {error}")
    return runs


def at_the_roof(figures: Figures, fp32: bytes) -> None:
    found = interleaved({"net": (fp32, ONE_THREAD), "product": (build_product("matmul"), ONE_THREAD)}, rounds=20)
    mult_adds = mnsweep.count(1.0, 224)["mult_adds"].item()
    rate = mult_adds / found["net"].p50_ms / (MULT_ADDS / found["product"].p50_ms)
    figures.report("fp32 network as a share of the rate of a 1024³ matrix product", 100 * rate, "%")
    figures.report("that is", 2 * mult_adds / found["net"].p50_ms / 1e6, "GFLOP/s")


def choices_of_pick(folder: Path) -> dict[str, Choice]:
    """The network in every way to deploy it here, and what `pick` chooses: the most accurate, and the fastest."""
    table = mnsweep.grid(
        1.0, 224, precision="fp32,bf16,int8", runtime="onnxruntime,openvino,litert", threads="1,auto", results_dir=folder
    )
    for row in table.sort_values("latency_p50_ms").itertuples():
        print(f"           {row.latency_p50_ms:7.3f} ms  {row.precision} {row.runtime} {row.threads} threads")
    for cell, reason in table.attrs["skipped"].items():
        print(f"           skipped {cell}: {reason}")
    return {
        "most accurate": mnsweep.pick(results_dir=folder, max_latency_ms=1e6),
        "fastest": mnsweep.pick(results_dir=folder, min_top1=0),
    }


def app_ms(model: Path, *options: str) -> float:
    """Median latency in ms by OpenVINO's benchmark_app, in its own words."""
    program = str(Path(sys.executable).with_name("benchmark_app"))
    command = [program, "-m", str(model), "-d", "CPU", "-t", str(APP_SECONDS), *options]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(re.findall(r"Median:\s+([0-9.]+) ms", said)[-1])


def prepared_cells(*cells: Cell) -> Prepared:
    prepared = Prepared(weight_bits=read_machine().int8_weight_bits)
    prepare(prepared, cells, WorkerProcess)
    return prepared


def against_benchmark_app(figures: Figures, fp32: bytes, choices: dict[str, Choice], folder: Path) -> None:
    model = folder / "app.onnx"
    model.write_bytes(fp32)
    cells = {name: parse_cell(choice.choice.cell) for name, choice in choices.items() if choice.choice}
    prepared = prepared_cells(*cells.values())
    lite = folder / "app.tflite"
    lite.write_bytes(build_tflite(expand(DESIGN), random_weights(expand(DESIGN))))
    ms: dict[str, list[float]] = {name: [] for name in (*cells, "benchmark_app", "benchmark_app -hint latency", LITERT)}
    for _ in range(ALTERNATIONS):
        ms[LITERT].append(measured(str(lite), "litert", "fp32", DEFAULT))
        ms["benchmark_app"].append(app_ms(model))
        ms["benchmark_app -hint latency"].append(app_ms(model, "-hint", "latency"))
        for name, cell in cells.items():
            found = interleaved({name: (prepared.model_of(cell), cell.deployment)}, rounds=20, processes=1)
            ms[name].append(found[name].p50_ms)
    middle = {name: median(values) for name, values in ms.items()}
    print(f"           {json.dumps({name: round(value, 3) for name, value in middle.items()})}")
    for name, cell in cells.items():
        figures.at_most(f"{name} choice, {cell.id}, against benchmark_app", middle[name] / middle["benchmark_app"], 1.0, "×")
        figures.report("against its -hint latency", middle[name] / middle["benchmark_app -hint latency"], "×")
        figures.at_most(f"{name} choice against {LITERT}", middle[name] / middle[LITERT], 1.0, "×")


if __name__ == "__main__":
    figures = Figures()
    layers = expand(DESIGN)
    fp32 = build_onnx(layers, random_weights(layers))
    cell = Cell(DESIGN, Deployment("int8", pad="none"))
    int8 = prepared_cells(cell).model_of(cell)
    with tempfile.TemporaryDirectory() as scratch:
        against_other_recipes(figures, fp32, int8, Path(scratch))
        at_the_roof(figures, fp32)
        against_benchmark_app(figures, fp32, choices_of_pick(Path(scratch) / "results"), Path(scratch))
    figures.finish()
