"""A matrix product as an ONNX file: the rate a runtime reaches on it is the practical peak for a network.

The product is 1024 × 1024 × 1024. It has two forms, because runtimes use different kernels for them: `matmul`, and
`convolution`, a 1 × 1 convolution from 1024 to 1024 channels on a feature map of 32 × 32 pixels. Four products form a chain,
so that converting the first operand to the runtime's layout, or to 8 bits and back, takes a negligible share of the time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnsweep.graph.nodes import FLOAT, INT8, Graph, Tensor
from mnsweep.graph.onnx_file import to_model
from mnsweep.graph.pairs import dequantized, quantize

SIZE, PIXELS, PRODUCTS = 1024, 32, 4
MULT_ADDS = PRODUCTS * SIZE**3
FORMS = ("matmul", "convolution")
_OPS = dict(zip(FORMS, ("MatMul", "Conv"), strict=True))
_SHAPES = dict(zip(FORMS, ((SIZE, SIZE), (1, SIZE, PIXELS, PIXELS)), strict=True))
_WEIGHT_SHAPES = dict(zip(FORMS, ((SIZE, SIZE), (SIZE, SIZE, 1, 1)), strict=True))
_SPAN = 4.0  # the 8-bit range is ± this number of standard deviations
_LEVELS = 127


def build_product(form: str, int8: bool = False) -> bytes:
    """A serialized ONNX model of `MULT_ADDS` multiply-accumulates, in fp32 or int8 (quantize/dequantize pairs).

    `form` is `matmul` or `convolution`. The input is fp32, (1024, 1024) or (1, 1024, 32, 32). The output has the same shape
    and, for standard normal inputs, about the same standard deviation.
    """
    graph = _graph(form, int8)
    model = to_model(graph, _arrays(form, int8), batch=graph.image.shape[0], name=form)
    return bytes(model.SerializeToString(deterministic=True))


def _graph(form: str, int8: bool) -> Graph:
    shape, last = _SHAPES[form], f"map{PRODUCTS}"
    graph = Graph(Tensor("map0", shape), Tensor(dequantized(last) if int8 else last, shape), layers={})
    weight = graph.constant("weight", _WEIGHT_SHAPES[form], INT8 if int8 else FLOAT)
    scale = (graph.constant("weight.scale"), graph.constant("weight.zero_point", (), INT8)) if int8 else ()
    for i in range(PRODUCTS):
        source = quantize(graph, f"map{i}", f"map{i}") if int8 else f"map{i}"
        factor = graph.add("DequantizeLinear", f"weight{i}", weight, *scale) if int8 else weight
        graph.add(_OPS[form], f"map{i + 1}", source, factor)
    if int8:
        quantize(graph, last, last)
    return graph


def _arrays(form: str, int8: bool) -> dict[str, NDArray[Any]]:
    weight = np.random.default_rng(0).standard_normal(_WEIGHT_SHAPES[form], dtype=np.float32)
    spread = np.float32(1 / np.sqrt(SIZE))  # keeps the standard deviation of a sum of 1024 products
    if not int8:
        return {"weight": weight * spread}
    scale = np.float32(_SPAN / _LEVELS)
    scales = {f"map{i}.scale": np.asarray(scale) for i in range(PRODUCTS + 1)} | {"weight.scale": np.asarray(scale * spread)}
    zeros = {name.replace("scale", "zero_point"): np.zeros((), np.int8) for name in scales}
    return {"weight": np.clip(np.rint(weight / scale), -_LEVELS, _LEVELS).astype(np.int8), **scales, **zeros}
