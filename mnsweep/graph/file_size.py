"""Compute the exact size of a network's ONNX file without writing the file or generating weights.

The encoding is protocol buffers: a tag, a length and a payload; lengths and integers are base-128 varints. Field
numbers are those of onnx.proto. A test compares the results with written files.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from mnsweep.arch.expand import Layer
from mnsweep.graph.lowering import FLOAT, INT8, INT32, INT64, UINT8, Node, Tensor, to_graph

IR_VERSION = 8
OPSET = 17
PRODUCER = "mnsweep"
NAME = "mobilenet"
ITEM_BYTES = {FLOAT: 4, INT8: 1, UINT8: 1, INT32: 4, INT64: 8}
SYNTHETIC = "seeded synthetic images: fit for timing alone"
MOST_BYTES = 2**31 - 1  # of a protocol buffer, so of an ONNX file without external data
CALIBRATION = "calibration"  # metadata key: the images on which int8 ranges were measured


def _varint(n: int) -> int:
    return max(1, -(-n.bit_length() // 7))


def _nested(n: int) -> int:
    """Bytes of a length-delimited field: a one-byte tag, the length, and `n` bytes."""
    return 1 + _varint(n) + n


def _integer(n: int) -> int:
    return 1 + _varint(n)


def _tensor(tensor: Tensor) -> int:
    """TensorProto: dims, data_type, name, raw_data."""
    elements, dims = 1, 0
    for d in tensor.shape:
        elements, dims = elements * d, dims + _integer(d)
    return _nested(dims + _integer(1) + _nested(len(tensor.name)) + _nested(ITEM_BYTES[tensor.dtype] * elements))


@lru_cache(maxsize=1024)
def _attribute(name: str, value: int | float | tuple[int, ...]) -> int:
    """AttributeProto of numbers: name; i, ints or f; and the type, which has a two-byte tag."""
    if isinstance(value, float):
        return _nested(_nested(len(name)) + 1 + 4 + 3)
    values = (value,) if isinstance(value, int) else value
    return _nested(_nested(len(name)) + sum(map(_integer, values)) + 3)


@lru_cache(maxsize=4096)
def _node(node: Node) -> int:
    """NodeProto: inputs, outputs, name, op_type, attributes."""
    names = sum(_nested(len(name)) for name in (*node.inputs, *node.outputs, node.name))
    return _nested(names + _nested(len(node.op)) + sum(_attribute(*attribute) for attribute in node.attributes))


def _value_info(tensor: Tensor) -> int:
    """ValueInfoProto: name, and a tensor type with one dimension message per axis."""
    dims = sum(_nested(_integer(d)) for d in tensor.shape)
    return _nested(_nested(len(tensor.name)) + _nested(_nested(_integer(1) + _nested(dims))))


def _metadata(properties: Mapping[str, str]) -> int:
    """StringStringEntryProto: key and value."""
    return sum(_nested(_nested(len(key)) + _nested(len(value))) for key, value in properties.items())


def metadata(int8: bool, calibration: str = SYNTHETIC) -> dict[str, str]:
    """The metadata of a file: for int8, the images on which its ranges were measured; otherwise empty."""
    return {CALIBRATION: calibration} if int8 else {}


def impossible(size_bytes: int) -> str:
    """Why no ONNX file can have this size; empty where one can."""
    if size_bytes <= MOST_BYTES:
        return ""
    return f"its ONNX file would have {size_bytes / 1e9:.2f} GB, and no single one can have more than {MOST_BYTES / 1e9:.2f} GB"


def onnx_bytes(layers: Sequence[Layer], int8: bool = False) -> int:
    """Size of the ONNX file in bytes at batch 1, in fp32 or int8: the graph and the folded weights."""
    graph = to_graph(layers, int8)
    size = _nested(len(NAME)) + sum(map(_node, graph.nodes)) + sum(map(_tensor, graph.constants))
    size += _value_info(graph.image) + _value_info(graph.output)
    opset = _nested(_integer(OPSET) + _nested(0))  # the default domain is written as an empty string
    return _integer(IR_VERSION) + _nested(len(PRODUCER)) + _nested(size) + opset + _metadata(metadata(int8))
