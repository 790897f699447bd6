"""Trained weights: what importing costs, whether real values change latency, and which form of integers is right and fast.

    python -m tests.bench.weights [import] [latency] [forms]

Needs the real files beside the checkout. `forms` runs the quantized networks in each form and runtime against LiteRT's
reference kernels, on the photographs, 60 crops and flips of them and 200 random pictures; XNNPACK's kernels are the yardstick.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Deployment
from mnsweep.graph.integers import Integers, in_form
from mnsweep.graph.lowering import to_graph
from mnsweep.graph.nodes import INT8, UINT8, Form
from mnsweep.graph.onnx_file import build_onnx, to_model
from mnsweep.graph.quantize import assumed_ranges
from mnsweep.graph.weights import random_weights
from mnsweep.importing.read import import_file
from mnsweep.importing.trained import Trained
from mnsweep.pictures.decode import decode, scaled
from mnsweep.pictures.pixels import Pixels
from mnsweep.prepare.models import Prepared
from mnsweep.worker.classify import answers, runner
from tests.bench.figure import Figures
from tests.bench.interleave import interleaved
from tests.real_files import CAT, HOPPER, KERAS, QUANTIZED_128, QUANTIZED_160, SUNFLOWER, WAKE_WORDS

STEP, CROPS, RANDOM = 1 / 256, 60, 200
FORMS = {
    "unsigned": Form(UINT8, UINT8, ends_in_8_bits=True),
    "signed weights": Form(UINT8, INT8, ends_in_8_bits=True),
    "signed": Form(INT8, INT8, ends_in_8_bits=True),
}
MEASURE_IMPORT = """
import sys, time, tracemalloc
from pathlib import Path
from mnsweep.importing.read import import_file
import mnsweep.importing.tflite_file, mnsweep.importing.keras_file
began = time.perf_counter()
import_file(Path(sys.argv[1]))
seconds = time.perf_counter() - began
tracemalloc.start()
import_file(Path(sys.argv[1]))
print(seconds, tracemalloc.get_traced_memory()[1])
"""


def importing(figures: Figures) -> None:
    for path in (QUANTIZED_128, QUANTIZED_160, KERAS, *WAKE_WORDS.values()):
        told = subprocess.run([sys.executable, "-c", MEASURE_IMPORT, str(path)], capture_output=True, text=True, check=True)
        seconds, memory = map(float, told.stdout.split())
        figures.at_most(f"import of {path.name}", seconds, 2, "s")
        figures.at_most(f"memory beyond the program's for {path.name}", memory / path.stat().st_size, 4, "× its size")
    program = str(Path(sys.executable).with_name("mnsweep"))
    began = time.perf_counter()
    subprocess.run([program, "import", str(KERAS), "-q"], capture_output=True, check=True)
    figures.at_most("the whole command", time.perf_counter() - began, 2, "s")


def latency(figures: Figures) -> None:
    """Real values against random ones: the same graph, so only denormals, zeros and saturation can make a difference."""
    models: dict[str, tuple[bytes, Deployment]] = {}
    for path in (KERAS, QUANTIZED_128, QUANTIZED_160):
        trained = import_file(path)
        layers = expand(trained.design)
        for precision in ("fp32", "int8"):
            deployment = Deployment(precision, pad="none")
            cell = Cell(trained.design, deployment)
            prepared = Prepared(weight_bits=8, channels={cell.id: {}}, trained={trained.design: trained})
            if precision == "int8" and not trained.is_quantized:
                prepared.ranges[trained.design] = assumed_ranges(trained.layers())
            ranges = assumed_ranges(layers) if precision == "int8" else None
            models[f"{path.stem} {precision} real"] = (prepared.model_of(cell), deployment)
            models[f"{path.stem} {precision} random"] = (build_onnx(layers, random_weights(layers), ranges=ranges), deployment)
    found = interleaved(models, rounds=60)
    for name in models:
        if name.endswith(" real"):
            real, random = found[name], found[name.replace(" real", " random")]
            half = (real.relative_ci_pct or 0) + (random.relative_ci_pct or 0)
            figures.report(f"{name} over random (both intervals ± {half:.1f} %)", real.p50_ms / random.p50_ms, "×")


def pictures(trained: Trained) -> Pixels:
    rng, resolution = np.random.default_rng(0), trained.design.resolution
    photographs = (CAT, SUNFLOWER, HOPPER)
    found = [decode(path, resolution, trained.preprocessing) for path in photographs]
    for number in range(CROPS):
        with Image.open(photographs[number % 3]) as opened:
            width, height = opened.size
            share = rng.uniform(0.5, 1)
            left, top = rng.uniform(0, (1 - share) * width), rng.uniform(0, (1 - share) * height)
            cut = opened.convert("RGB").crop((int(left), int(top), int(left + share * width), int(top + share * height)))
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if number % 2 else cut
        found.append(np.asarray(scaled(cut, resolution, trained.preprocessing)))
    found += list(rng.integers(0, 256, (RANDOM, resolution, resolution, 3), np.uint8))
    return np.stack(found)


def in_this_form(trained: Trained, form: Form) -> bytes:
    assert isinstance(trained.weights, Integers)
    form = form._replace(per_channel=trained.weights.is_per_channel)
    layers = trained.layers()
    model = to_model(to_graph(layers, int8=True, form=form), in_form(layers, trained.weights, form), batch=1)
    return bytes(model.SerializeToString())


def forms(figures: Figures) -> None:
    for path in (QUANTIZED_128, QUANTIZED_160, WAKE_WORDS["_int8.tflite"]):
        trained = import_file(path)
        pixels = pictures(trained)

        def probabilities(run: Callable[..., NDArray[np.float32]], has_softmax: bool) -> NDArray[np.float32]:
            return answers(run, pixels, trained.preprocessing, has_softmax=has_softmax).probabilities  # noqa: B023

        content = path.read_bytes()
        wanted = probabilities(runner(content, "litert:reference", "int8", 1), True)
        ways = {"XNNPACK": probabilities(runner(content, "litert", "int8", 1), True)}
        models: dict[str, tuple[bytes, Deployment]] = {}
        for name, form in FORMS.items():
            for runtime in ("onnxruntime", "openvino"):
                model = in_this_form(trained, form)
                models[f"{name} on {runtime}"] = (model, Deployment("int8", runtime))
                ways[f"{name} on {runtime}"] = probabilities(runner(model, runtime, "int8", 1), False)
        photos = CROPS + 3
        for name, found in ways.items():
            steps = np.abs(found - wanted).max(axis=1) / STEP
            same = int((found[:photos].argmax(axis=1) == wanted[:photos].argmax(axis=1)).sum())
            middle, high, worst = np.median(steps), np.quantile(steps, 0.9), steps.max()
            print(
                f"{path.stem}: {name}: {middle:.0f}, {high:.0f}, {worst:.0f} steps apart, top-1 the same on {same} of {photos}"
            )
        estimates = interleaved(models, rounds=40)
        least = min(estimate.p50_ms for estimate in estimates.values())
        for name, estimate in sorted(estimates.items(), key=lambda pair: pair[1].p50_ms):
            figures.report(f"{path.stem}: {name}", estimate.p50_ms / least, f"× the fastest ({estimate.p50_ms:.3f} ms)")


PARTS: dict[str, Callable[[Figures], None]] = {"import": importing, "latency": latency, "forms": forms}


def main(*names: str) -> None:
    figures = Figures()
    for name in names or PARTS:
        PARTS[name](figures)
    figures.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
