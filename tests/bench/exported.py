"""Our graph against torch's export of the same network in the same runtime, interleaved: at most 1.02."""

from random import Random

from mnsweep.arch.layers import expand
from mnsweep.build.onnx_graph import build_onnx
from mnsweep.build.weights import random_weights
from mnsweep.cell import Design
from mnsweep.measure.estimate import estimate
from mnsweep.measure.proxy import Worker
from mnsweep.measure.record import Block
from tests.bench.build import export
from tests.bench.figure import Figures

ROUNDS = 60

if __name__ == "__main__":
    figures, rng = Figures(), Random(0)
    for design in (Design(1.0, 224), Design(0.25, 128)):
        layers = expand(design)
        models = {"ours": build_onnx(layers, random_weights(layers)), "torch's": export(design)}
        blocks = []
        for process in (1, 2):
            with Worker() as worker:
                for name, model in models.items():
                    worker.open(name, model, 1)
                    worker.time(name, 3, 250)
                for number in range(ROUNDS):
                    for name in rng.sample(sorted(models), 2):
                        timing = worker.time(name, 5, 20)
                        blocks.append(Block(name, process, number, 0.0, timing.first_ns, timing.samples_ns))
        by_name = estimate(blocks)
        ratio = by_name["ours"].p50_ms / by_name["torch's"].p50_ms
        figures.at_most(f"our graph against torch's at ({design.alpha}, {design.resolution})", ratio, 1.02, "×")
    figures.finish()
