"""The deployment that `pick` would take, over all runtimes, against each runtime's own defaults on the same network.

    python -m tests.bench.peers

Each variant runs in a process of its own, in turns: ours with the settings that sweeps measure, with one thread and with all;
the peers as their documentation opens a file, with default threads and kernels.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from random import Random
from statistics import median

import numpy as np

from mnsweep.machine.fingerprint import read_machine
from mnsweep.worker.runtimes import load, offer
from tests.bench.figure import Figures

DESIGNS = (("0.25", "128"), ("0.5", "160"), ("1.0", "224"))
RUNTIMES = ("onnxruntime", "openvino", "litert")
PRECISIONS = ("fp32", "int8")
TURNS, WARM_RUNS, SECONDS = 5, 10, 0.5
DEFAULT = 0  # threads: the peer's own choice
PROGRAM = str(Path(sys.executable).with_name("mnsweep"))


def run_ms(path: str, runtime: str, precision: str, threads: int) -> float:
    """The median of the runs of half a second."""
    rng = np.random.default_rng(1)
    if threads != DEFAULT:
        session = load(runtime).open(Path(path).read_bytes(), precision, threads)
        run = session.bound(rng.random(session.shape, np.float32))
    elif runtime == "onnxruntime":
        import onnxruntime

        plain = onnxruntime.InferenceSession(path)
        feed = {"image": rng.random(plain.get_inputs()[0].shape, np.float32)}

        def run() -> None:
            plain.run(None, feed)
    elif runtime == "openvino":
        import openvino

        settings = {"PERFORMANCE_HINT": "LATENCY"}  # what benchmark_app sets with -hint latency
        compiled = openvino.Core().compile_model(path, "CPU", settings)
        image = rng.random(tuple(compiled.input(0).shape), np.float32)
        request = compiled.create_infer_request()

        def run() -> None:
            request.infer([image], share_inputs=True)
    else:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(path)
        interpreter.allocate_tensors()
        about = interpreter.get_input_details()[0]
        interpreter.set_tensor(about["index"], rng.random(tuple(about["shape"]), np.float32))
        run = interpreter.invoke
    for _ in range(WARM_RUNS):
        run()
    times, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return 1e3 * median(times)


def measured(path: str, runtime: str, precision: str, threads: int) -> float:
    command = [sys.executable, "-m", "tests.bench.peers", path, runtime, precision, str(threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def main() -> None:
    figures, most = Figures(), read_machine().usable_threads
    with tempfile.TemporaryDirectory() as folder:
        for (alpha, resolution), precision in product(DESIGNS, PRECISIONS):
            paths = {}
            for ending in ("onnx", "tflite"):
                paths[ending] = str(Path(folder) / f"a{alpha}_r{resolution}_{precision}.{ending}")
                asked = ["--alpha", alpha, "--res", resolution, "--precision", precision, "--out", paths[ending]]
                subprocess.run([PROGRAM, "export", *asked, "-q"], capture_output=True, check=True)
            variants = [(runtime, precision, threads) for runtime in RUNTIMES for threads in sorted({DEFAULT, 1, most})]
            if precision == "fp32" and "bf16" in offer("openvino").precisions:  # which it takes by default for an fp32 file
                variants += [("openvino", "bf16", threads) for threads in sorted({1, most})]
            times: dict[tuple[str, str, int], list[float]] = {variant: [] for variant in variants}
            for turn in range(TURNS):
                for variant in Random(turn).sample(variants, len(variants)):
                    path = paths["tflite" if variant[0] == "litert" else "onnx"]
                    times[variant].append(measured(path, *variant))
            ms = {variant: median(of) for variant, of in times.items()}
            best = min((variant for variant in variants if variant[2] != DEFAULT), key=ms.__getitem__)
            figures.report(f"({alpha}, {resolution}) {precision}: {best[0]}, {best[1]}, {best[2]} threads", ms[best], "ms")
            for runtime in RUNTIMES:
                figures.at_most(f"    over {runtime}'s defaults", ms[best] / ms[runtime, precision, DEFAULT], 1.02, "×")
    figures.finish()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        parser = argparse.ArgumentParser()
        for name in ("path", "runtime", "precision", "threads"):
            parser.add_argument(name)
        given = parser.parse_args()
        print(run_ms(given.path, given.runtime, given.precision, int(given.threads)))
    else:
        main()
