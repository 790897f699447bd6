"""What a user's own program sees: the exported file in a plain session, against the session that sweeps measure.

Each variant runs in a process of its own, in turns: default settings but the number of threads, and the settings that
mnsweep measures with (they are in the file's metadata). A ratio above 1 means that the plain program is slower.
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

from mnsweep.worker.runtimes import load

DESIGNS = (("0.25", "128"), ("1.0", "224"))
THREADS, TURNS = (1, 2), 10
PLAIN, IN_FP32, MEASURED = "plain", "plain in fp32", "as measured"
SESSIONS = (("onnxruntime", PLAIN), ("openvino", PLAIN), ("openvino", IN_FP32))  # OpenVINO prefers bf16 where the CPU has it
LARGE = 0.03
PROGRAM = str(Path(sys.executable).with_name("mnsweep"))


def run_ms(path: str, runtime: str, threads: int, settings: str) -> float:
    """The median of the runs of half a second, after ten."""
    if settings == MEASURED:
        session = load(runtime).open(Path(path).read_bytes(), "fp32", threads)
        run = session.bound(np.random.default_rng(1).random(session.shape, np.float32))
    elif runtime == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        plain = onnxruntime.InferenceSession(path, options)
        feed = {"image": np.random.default_rng(1).random(plain.get_inputs()[0].shape, np.float32)}

        def run() -> None:
            plain.run(None, feed)
    else:
        import openvino

        precision = {"INFERENCE_PRECISION_HINT": "f32"} if settings == IN_FP32 else {}
        compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": threads, **precision})
        image = np.random.default_rng(1).random(tuple(compiled.input(0).shape), np.float32)

        def run() -> None:
            compiled([image])

    for _ in range(10):
        run()
    times, end = [], time.perf_counter() + 0.5
    while time.perf_counter() < end:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return 1e3 * median(times)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for alpha, res in DESIGNS:
            paths[alpha, res] = str(Path(folder) / f"{alpha}-{res}.onnx")
            command = [PROGRAM, "export", "--alpha", alpha, "--res", res, "--out", paths[alpha, res], "-q"]
            subprocess.run(command, check=True, capture_output=True)
        variants = list(product(DESIGNS, SESSIONS, THREADS))
        logs: dict[tuple[tuple[str, str], tuple[str, str], int], list[float]] = {variant: [] for variant in variants}
        for turn in range(TURNS):
            for variant in Random(turn).sample(variants, len(variants)):
                design, (runtime, plain), threads = variant
                ms = {}
                for settings in Random(turn).sample((plain, MEASURED), 2):
                    command = [sys.executable, "-m", "tests.bench.own_program", paths[design], runtime, str(threads), settings]
                    ms[settings] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                logs[variant].append(float(np.log(ms[plain] / ms[MEASURED])))
    for (design, (runtime, plain), threads), values in logs.items():
        ratio, error = float(np.exp(median(values))), float(1.25 * np.std(values) / len(values) ** 0.5)
        mark = "DIFFERS" if abs(np.log(ratio)) > LARGE + 2 * error else "       "
        print(f"{mark} ({', '.join(design)}) {runtime}, {threads} threads: {plain} {ratio:.3f} ± {2 * error:.3f} × as measured")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("one", nargs="*")
    one = parser.parse_args().one
    if one:
        print(run_ms(one[0], one[1], int(one[2]), one[3]))
    else:
        main()
