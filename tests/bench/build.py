"""Building: the 16 ONNX graphs of the paper's grid in at most 1.5 s; torch.onnx.export for comparison."""

import logging
import warnings

import torch

from mnsweep.arch.expand import expand
from mnsweep.cell import Design
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.torch_net import to_torch
from mnsweep.graph.weights import random_weights
from mnsweep.space import Space
from tests.bench.figure import Figures, seconds

DESIGNS = Space().designs()


logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which nothing here needs


def build_all() -> None:
    for design in DESIGNS:
        layers = expand(design)
        build_onnx(layers, random_weights(layers))


def export(design: Design) -> bytes:
    layers = expand(design)
    net = to_torch(layers, random_weights(layers))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(net, (torch.zeros(1, 3, design.resolution, design.resolution),), dynamo=True, verbose=False)
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


if __name__ == "__main__":
    figures = Figures()
    figures.at_most("building the paper's 16 graphs, weights included", seconds(build_all), 1.5, "s")
    figures.report("torch.onnx.export of the same 16", seconds(lambda: [export(d) for d in DESIGNS], 1), "s")
    figures.finish()
