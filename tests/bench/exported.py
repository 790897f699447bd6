"""Our graph against torch's export of the same network in the same runtime, interleaved: at most 1.02."""

from mnsweep.arch.expand import expand
from mnsweep.cell import Design
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.weights import random_weights
from tests.bench.build import export
from tests.bench.figure import Figures
from tests.bench.interleave import ONE_THREAD, interleaved

if __name__ == "__main__":
    figures = Figures()
    for design in (Design.of(1.0, 224), Design.of(0.25, 128)):
        layers = expand(design)
        ours, torchs = build_onnx(layers, random_weights(layers)), export(design)
        found = interleaved({"ours": (ours, ONE_THREAD), "torch's": (torchs, ONE_THREAD)})
        ratio = found["ours"].p50_ms / found["torch's"].p50_ms
        figures.at_most(f"our graph against torch's at ({design.alpha}, {design.resolution})", ratio, 1.02, "×")
    figures.finish()
