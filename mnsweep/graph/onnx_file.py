"""Write the ONNX file of a network: the graph of `graph/lowering.py`, filled with arrays by the `onnx` helper library.

Opset 17 and IR version 8 load in every onnxruntime since 1.12 (2022).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto, helper

from mnsweep.arch.expand import Layer
from mnsweep.errors import MnsweepError
from mnsweep.graph.file_size import IR_VERSION, NAME, OPSET, PRODUCER, SYNTHETIC, metadata
from mnsweep.graph.integers import Integers, check_integers, form_of, in_form
from mnsweep.graph.lowering import DETECTIONS, FLOAT, INT8, INT32, INT64, UINT8, Graph, Node, Range, Tensor, map_shape, to_graph
from mnsweep.graph.quantize import quantized
from mnsweep.graph.weights import Weights, check, folded_arrays

_TYPES = {
    FLOAT: TensorProto.FLOAT,
    INT8: TensorProto.INT8,
    UINT8: TensorProto.UINT8,
    INT32: TensorProto.INT32,
    INT64: TensorProto.INT64,
}


class About(NamedTuple):
    """What an exported file says of itself: name of the graph, version of the producer, and metadata."""

    name: str
    version: str
    properties: Mapping[str, str]


def build_onnx(
    layers: Sequence[Layer],
    weights: Weights | Integers,
    batch: int | None = 1,
    ranges: Mapping[str, Range] | None = None,
    calibration: str = SYNTHETIC,
    weight_bits: int = 8,
    about: About | None = None,
) -> bytes:
    """A serialized ONNX model: `image` (batch, 3, res, res) fp32 → `logits` (batch, classes) fp32, or the task's output.

    `mnsweep.graph.lowering.output` lists the other outputs. `batch=None` makes the batch symbolic. With `ranges`, the
    (minimum, maximum) of each feature map, the arithmetic is int8: weights have at most `weight_bits` bits, and
    `calibration`, the source of the ranges, goes into the metadata. `Integers` are int8 by themselves. `about` describes the
    network in files for others; the size that `file_size` computes is of a file without it.
    Raises `MnsweepError` when an array or a range is missing or has the wrong shape, and for a detection network with
    int8 or with any batch other than 1.
    """
    int8 = ranges is not None or isinstance(weights, Integers)
    if layers[-1].op.endswith(DETECTIONS) and (batch != 1 or int8):
        raise MnsweepError("a detection network takes one image at a time, in fp32", "ask for batch 1 and precision fp32")
    if isinstance(weights, Integers):
        check_integers(layers, weights)
        form = form_of(weights, weight_bits)
        graph, arrays = to_graph(layers, int8=True, form=form), in_form(layers, weights, form)
    else:
        check(layers, weights)
        graph = to_graph(layers, int8=ranges is not None)
        arrays = folded_arrays(layers, weights) if ranges is None else quantized(layers, weights, ranges, weight_bits)
    model = to_model(graph, arrays, batch, about.name if about else NAME)
    if about:  # an empty text would take two bytes
        model.producer_version = about.version
    helper.set_model_props(model, {**metadata(int8, calibration), **(about.properties if about else {})})
    return bytes(model.SerializeToString(deterministic=True))


def build_open_onnx(layers: Sequence[Layer], weights: Weights) -> bytes:
    """A serialized fp32 ONNX model for one image with every feature map as an additional output, e.g. for calibration."""
    graph = to_graph(layers)
    model = to_model(graph, folded_arrays(layers, weights), batch=1)
    for layer in layers[:-1]:
        model.graph.output.append(_value(Tensor(layer.name, map_shape(layer)), layer.repeats))
    return bytes(model.SerializeToString(deterministic=True))


def to_model(graph: Graph, arrays: Mapping[str, NDArray[Any]], batch: int | None, name: str = NAME) -> Any:
    """An ONNX ModelProto of the graph for `batch` images (None: symbolic); `arrays` are by the name of the constant."""
    proto = helper.make_graph(
        nodes=[_node(node) for node in graph.nodes],
        name=name,
        inputs=[_value(graph.image, batch)],
        outputs=[_value(graph.output, batch)],
    )
    model = helper.make_model(proto, producer_name=PRODUCER, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    for constant in graph.constants:  # added to the model's own copy of the graph, so that large arrays are copied once
        tensor = model.graph.initializer.add(name=constant.name, data_type=_TYPES[constant.dtype], dims=constant.shape)
        known = graph.values.get(constant.name)
        array = np.asarray(known()) if known else arrays[constant.name]
        tensor.raw_data = np.ascontiguousarray(array, np.dtype(constant.dtype).newbyteorder("<")).tobytes()
    return model


def _node(node: Node) -> Any:
    attributes: dict[str, Any] = dict(node.attributes)
    return helper.make_node(node.op, node.inputs, node.outputs, node.name, **attributes)


def _value(tensor: Tensor, batch: int | None) -> ValueInfoProto:
    shape = ["batch" if batch is None else batch, *tensor.shape[1:]]
    return helper.make_tensor_value_info(tensor.name, _TYPES[tensor.dtype], shape)
