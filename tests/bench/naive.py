"""What people write today: export each model with torch, then time it, 10 + 100 runs, one after another."""

import logging
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime as ort
import torch

from mnsweep.arch.expand import expand
from mnsweep.graph.torch_net import TorchNet
from mnsweep.space import Space


def main(folder: str) -> None:
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    for design in Space().designs():
        net = TorchNet(expand(design)).eval()
        image = torch.randn(1, 3, design.resolution, design.resolution)
        path = Path(folder) / "model.onnx"
        torch.onnx.export(net, (image,), path, dynamo=True, verbose=False, external_data=False)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: np.asarray(image)}
        times = []
        for i in range(110):
            start = time.perf_counter()
            session.run(None, feed)
            if i >= 10:
                times.append(time.perf_counter() - start)
        print(design.alpha, design.resolution, f"{median(times) * 1e3:.3f} ms", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
