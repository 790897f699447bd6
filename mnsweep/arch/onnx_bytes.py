"""Exact size of the ONNX file of a network, by arithmetic: no graph is built, no weight is drawn.

Mirrors `build/onnx_graph.py` field by field; a test builds the files and compares. Encoding: protocol
buffers (a tag, a length, a payload; lengths and integers as base-128 varints). Field numbers: onnx.proto.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from mnsweep.arch.layers import Layer

IR_VERSION = 8
OPSET = 17
PRODUCER = "mnsweep"
FLOAT_BYTES = 4


def _varint(n: int) -> int:
    return max(1, -(-n.bit_length() // 7))


def _nested(n: int) -> int:
    """A length-delimited field of `n` bytes behind a one-byte tag."""
    return 1 + _varint(n) + n


def _integer(n: int) -> int:
    return 1 + _varint(n)


def _tensor(name: str, shape: Iterable[int]) -> int:
    """TensorProto: dims, data_type, name, raw_data."""
    elements, dims = 1, 0
    for d in shape:
        elements, dims = elements * d, dims + _integer(d)
    return _nested(dims + _integer(1) + _nested(len(name)) + _nested(FLOAT_BYTES * elements))


@lru_cache(maxsize=1024)
def _attribute(name: str, value: int | tuple[int, ...]) -> int:
    """AttributeProto of integers: name, i or ints, and the type behind a two-byte tag."""
    values = (value,) if isinstance(value, int) else value
    return _nested(_nested(len(name)) + sum(map(_integer, values)) + 3)


@lru_cache(maxsize=1024)
def _node(op: str, name: str, inputs: tuple[str, ...], output: str, attributes: int = 0) -> int:
    """NodeProto: inputs, one output, name, op_type, attributes."""
    names = sum(_nested(len(i)) for i in inputs) + _nested(len(output)) + _nested(len(name))
    return _nested(names + _nested(len(op)) + attributes)


def _value_info(name: str, shape: Sequence[int]) -> int:
    """ValueInfoProto: name, and a tensor type with one dimension message for each axis."""
    dims = sum(_nested(_integer(d)) for d in shape)
    return _nested(_nested(len(name)) + _nested(_nested(_integer(1) + _nested(dims))))


def _conv(layer: Layer) -> int:
    out = layer.name + ".conv" if layer.activation != "none" else layer.name
    bounds = ("clip.min", "clip.max") if layer.activation == "relu6" else ()
    op = {"relu6": "Clip", "relu": "Relu"}.get(layer.activation)
    pads = (*(layer.padding[:1] * 2), *(layer.padding[1:] * 2))
    attributes = (
        _attribute("group", layer.groups)
        + _attribute("kernel_shape", (layer.kernel,) * 2)
        + _attribute("pads", pads)
        + _attribute("strides", (layer.stride,) * 2)
    )
    weight, bias = layer.name + ".weight", layer.name + ".bias"
    size = _node("Conv", layer.name, (layer.inputs[0], weight, bias), out, attributes)
    if op:
        size += _node(op, f"{layer.name}.{layer.activation}", (out, *bounds), layer.name)
    return size + _tensor(weight, layer.weight_shape) + _tensor(bias, (layer.out_channels,))


def _linear(layer: Layer) -> int:
    flat, weight, bias = layer.name + ".flat", layer.name + ".weight", layer.name + ".bias"
    return (
        _node("Flatten", flat, layer.inputs, flat)
        + _node("Gemm", layer.name, (flat, weight, bias), "logits", _attribute("transB", 1))
        + _tensor(weight, layer.weight_shape)
        + _tensor(bias, (layer.out_channels,))
    )


def _pool(layer: Layer) -> int:
    return _node("GlobalAveragePool", layer.name, layer.inputs, layer.name)


_SIZE_OF_OP = {"conv": _conv, "linear": _linear, "global_pool": _pool}


def onnx_bytes(layers: Sequence[Layer]) -> int:
    """Bytes of the fp32 ONNX file at batch 1: folded weights and the graph around them."""
    first, last = layers[0], layers[-1]
    graph = sum(_SIZE_OF_OP[layer.op](layer) for layer in layers) + _nested(len("mobilenet"))
    if any(layer.activation == "relu6" for layer in layers):
        graph += _tensor("clip.min", ()) + _tensor("clip.max", ())
    graph += _value_info("image", (1, first.in_channels, first.in_size, first.in_size))
    graph += _value_info("logits", (1, last.out_channels))
    opset = _nested(_integer(OPSET) + _nested(0))  # the default domain is written as an empty string
    return _integer(IR_VERSION) + _nested(len(PRODUCER)) + _nested(graph) + opset
