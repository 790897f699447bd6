"""A matrix product as an ONNX file: what a runtime reaches on it is the most that a network can hope for.

The product is 1024 × 1024 × 1024, in two forms, because runtimes have kernels of their own for each: `matmul`, and
`convolution`, 1 × 1 from 1024 to 1024 channels over a map of 32 × 32 pixels. Four stand in a chain, so that bringing the
first operand into a runtime's layout, or to 8 bits and back, hardly counts.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mnsweep.graph.file_size import IR_VERSION, OPSET, PRODUCER

SIZE, PIXELS, PRODUCTS = 1024, 32, 4
MULT_ADDS = PRODUCTS * SIZE**3
FORMS = ("matmul", "convolution")
_OPS = dict(zip(FORMS, ("MatMul", "Conv"), strict=True))
_SHAPES = dict(zip(FORMS, ((SIZE, SIZE), (1, SIZE, PIXELS, PIXELS)), strict=True))
_WEIGHT_SHAPES = dict(zip(FORMS, ((SIZE, SIZE), (SIZE, SIZE, 1, 1)), strict=True))
_SPAN = 4.0  # standard deviations that 8 bits hold
_LEVELS = 127


def build_product(form: str, int8: bool = False) -> bytes:
    """A serialized ONNX model of `MULT_ADDS` multiply-accumulates, in fp32 or between quantize/dequantize pairs.

    Its one input is fp32: (1024, 1024) as `matmul`, (1, 1024, 32, 32) as `convolution`; its output has the same shape, and
    for standard normal inputs about the same spread.
    """
    out = f"map{PRODUCTS}.dequantized" if int8 else f"map{PRODUCTS}"
    graph = helper.make_graph(
        nodes=list(_nodes(_OPS[form], int8)),
        name=form,
        inputs=[helper.make_tensor_value_info("map0", TensorProto.FLOAT, _SHAPES[form])],
        outputs=[helper.make_tensor_value_info(out, TensorProto.FLOAT, _SHAPES[form])],
        initializer=[numpy_helper.from_array(array, name) for name, array in _arrays(form, int8).items()],
    )
    model = helper.make_model(graph, producer_name=PRODUCER, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    return bytes(model.SerializeToString(deterministic=True))


def _nodes(op: str, int8: bool) -> Iterator[Any]:
    for i in range(PRODUCTS):
        source, weight = f"map{i}", "weight"
        if int8:
            yield from _pair(source)
            yield helper.make_node(
                "DequantizeLinear", ["weight", "weight.scale", "zero"], [f"weight{i}"], f"weight{i}.dequantize"
            )
            source, weight = f"{source}.dequantized", f"weight{i}"
        yield helper.make_node(op, [source, weight], [f"map{i + 1}"], f"product{i}")
    if int8:
        yield from _pair(f"map{PRODUCTS}")


def _pair(name: str) -> Iterator[Any]:
    yield helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{name}.quantized"], f"{name}.quantize")
    yield helper.make_node(
        "DequantizeLinear", [f"{name}.quantized", "scale", "zero"], [f"{name}.dequantized"], f"{name}.dequantize"
    )


def _arrays(form: str, int8: bool) -> dict[str, NDArray[Any]]:
    weight = np.random.default_rng(0).standard_normal(_WEIGHT_SHAPES[form], dtype=np.float32)
    spread = np.float32(1 / np.sqrt(SIZE))  # a sum of 1024 products then spreads as far as the operand did
    if not int8:
        return {"weight": weight * spread}
    scale = np.float32(_SPAN / _LEVELS)
    return {
        "weight": np.clip(np.rint(weight / scale), -_LEVELS, _LEVELS).astype(np.int8),
        "weight.scale": np.asarray(scale * spread),
        "scale": np.asarray(scale),
        "zero": np.zeros((), np.int8),
    }
