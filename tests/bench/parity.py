"""Keras's own application against what is imported from its files: all 16 published sizes, three formats, random weights.

python -m tests.bench.parity
"""

import os
import tempfile
from itertools import product
from pathlib import Path

import numpy as np

from mnsweep.graph.onnx_file import build_onnx
from mnsweep.importing.read import Asked, import_file
from mnsweep.worker.classify import runner, softmax
from tests.bench.figure import Figures

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras

ALPHAS, RESOLUTIONS, IMAGES = (0.25, 0.5, 0.75, 1.0), (128, 160, 192, 224), 2
FILES = ("model.keras", "model.h5", "model.weights.h5")


def main() -> None:
    figures, rng, apart = Figures(), np.random.default_rng(0), dict.fromkeys(FILES, 0.0)
    for alpha, resolution in product(ALPHAS, RESOLUTIONS):
        keras.utils.clear_session()
        model = keras.applications.MobileNet((resolution, resolution, 3), alpha=alpha, weights=None)
        for layer in model.layers:
            if len(layer.get_weights()) == 4:
                shape = layer.get_weights()[0].shape
                scale, variance = rng.uniform(0.5, 1.5, shape), rng.uniform(0.3, 2, shape)
                layer.set_weights((scale, rng.normal(0, 0.3, shape), rng.normal(0, 0.1, shape), variance))
        images = rng.uniform(-1, 1, (IMAGES, resolution, resolution, 3)).astype(np.float32)
        wanted = model.predict(images, verbose=0)
        with tempfile.TemporaryDirectory() as folder:
            for name in FILES:
                (model.save_weights if "weights" in name else model.save)(Path(folder) / name)
                trained = import_file(Path(folder) / name, Asked(res=resolution))
                run = runner(build_onnx(trained.layers(), trained.weights), "onnxruntime", "fp32", 1)
                found = softmax(np.concatenate([run(image.transpose(2, 0, 1)[None].copy()) for image in images]))
                apart[name] = max(apart[name], float(np.abs(found - wanted).max()))
    for name, largest in apart.items():
        figures.at_most(f"{name}: largest difference of probabilities over 16 sizes", largest, 1e-5, "")
    figures.finish()


if __name__ == "__main__":
    main()
