"""The ONNX graph of a network, written from its rows and weights with the `onnx` helper library.

Batch norm is folded; ReLU6 is `Clip` with constant bounds, which onnxruntime fuses into the convolution
(a Min/Max pair does not fuse, and breaks the blocked layout around it). Opset 17 and IR version 8 load
in every onnxruntime since 1.12 (2022).
"""

from collections.abc import Sequence

import numpy as np
from onnx import GraphProto, TensorProto, ValueInfoProto, helper

from mnsweep.arch.layers import Layer
from mnsweep.arch.onnx_bytes import IR_VERSION, OPSET, PRODUCER
from mnsweep.build.weights import Array, Weights, check, folded


def build_onnx(layers: Sequence[Layer], weights: Weights, batch: int | None = 1) -> bytes:
    """A serialized ONNX model: `image` (batch, 3, res, res) fp32 → `logits` (batch, classes) fp32.

    `batch=None` makes the batch symbolic. Raises `MnsweepError` when an array is missing or misshapen.
    """
    check(layers, weights)
    first, last = layers[0], layers[-1]
    shape = ["batch" if batch is None else batch]
    graph = helper.make_graph(
        nodes=[],
        name="mobilenet",
        inputs=[_value("image", [*shape, first.in_channels, first.in_size, first.in_size])],
        outputs=[_value("logits", [*shape, last.out_channels])],
    )
    if any(layer.activation == "relu6" for layer in layers):
        _add_array(graph, "clip.min", np.zeros((), np.float32))
        _add_array(graph, "clip.max", np.full((), 6, np.float32))
    for layer in layers:
        _WRITERS[layer.op](graph, layer, weights)
    model = helper.make_model(graph, producer_name=PRODUCER, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    return bytes(model.SerializeToString(deterministic=True))


def _value(name: str, shape: list[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _add_array(graph: GraphProto, name: str, array: Array) -> str:
    tensor = graph.initializer.add(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
    tensor.raw_data = np.ascontiguousarray(array, dtype="<f4").tobytes()
    return name


def _add_weights(graph: GraphProto, layer: Layer, weights: Weights) -> list[str]:
    weight, bias = folded(layer, weights)
    return [_add_array(graph, f"{layer.name}.weight", weight), _add_array(graph, f"{layer.name}.bias", bias)]


def _write_conv(graph: GraphProto, layer: Layer, weights: Weights) -> None:
    before, after = layer.padding
    out = layer.name if layer.activation == "none" else f"{layer.name}.conv"
    inputs = [*layer.inputs, *_add_weights(graph, layer, weights)]
    conv = helper.make_node(
        "Conv",
        inputs,
        [out],
        layer.name,
        group=layer.groups,
        kernel_shape=[layer.kernel] * 2,
        pads=[before, before, after, after],
        strides=[layer.stride] * 2,
    )
    graph.node.append(conv)
    if layer.activation == "relu6":
        bounds = ["clip.min", "clip.max"]
        graph.node.append(helper.make_node("Clip", [out, *bounds], [layer.name], f"{layer.name}.relu6"))
    elif layer.activation == "relu":
        graph.node.append(helper.make_node("Relu", [out], [layer.name], f"{layer.name}.relu"))


def _write_global_pool(graph: GraphProto, layer: Layer, weights: Weights) -> None:
    graph.node.append(helper.make_node("GlobalAveragePool", layer.inputs, [layer.name], layer.name))


def _write_linear(graph: GraphProto, layer: Layer, weights: Weights) -> None:
    flat = f"{layer.name}.flat"
    graph.node.append(helper.make_node("Flatten", layer.inputs, [flat], flat))
    inputs = [flat, *_add_weights(graph, layer, weights)]
    graph.node.append(helper.make_node("Gemm", inputs, ["logits"], layer.name, transB=1))


_WRITERS = {"conv": _write_conv, "global_pool": _write_global_pool, "linear": _write_linear}
