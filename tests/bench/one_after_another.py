"""The usual way to time models: one after another, 10 warm-ups, the median. Argument: seconds for all of them."""

import sys
import time
from statistics import median

import numpy as np
import onnxruntime as ort

from mnsweep.arch.expand import expand
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.weights import random_weights
from mnsweep.prepare.models import SEED
from mnsweep.space import Space


def main(seconds: float) -> None:
    cells = Space().cells()
    for cell in cells:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        layers = expand(cell.design)
        model = build_onnx(layers, random_weights(layers, SEED))
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        image = session.get_inputs()[0]
        feed = {image.name: np.random.default_rng(SEED).standard_normal(image.shape, dtype=np.float32)}
        for _ in range(10):
            session.run(None, feed)
        times, end = [], time.perf_counter() + seconds / len(cells)
        while time.perf_counter() < end:
            start = time.perf_counter()
            session.run(None, feed)
            times.append(time.perf_counter() - start)
        print(cell.id, 1e3 * median(times), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
