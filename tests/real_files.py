"""Trained networks and pictures that nobody here made; they lie beside a checkout, and a user's machine has none."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "shared" / "real"
needs_real_files = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"{FOLDER} is not there: real files are not tested")

QUANTIZED_128, QUANTIZED_160 = FOLDER / "mobilenet_v1_0.25_128_quant.tflite", FOLDER / "mobilenet_v1_0.5_160_quant.tflite"
KERAS = FOLDER / "keras_mobilenet_0.25_128.h5"
WAKE_WORDS = {kind: FOLDER / f"vww_96{kind}" for kind in (".h5", "_float.tflite", "_int8.tflite")}
CAT, SUNFLOWER, HOPPER = (FOLDER / f"{name}.bmp" for name in ("cat", "sunflower", "grace_hopper"))
EGYPTIAN_CAT, TABBY, DAISY = 285, 281, 985  # classes of ImageNet, from 0
