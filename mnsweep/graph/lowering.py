"""The ONNX graph of a network, without its numbers: nodes by name, and the shapes of what they read.

`onnx_file.py` writes it with arrays, `file_size.py` counts the bytes of that file; both read this.

fp32: batch norm is folded; ReLU6 is `Clip` with constant bounds, which onnxruntime fuses into the convolution
(a Min/Max pair does not fuse, and breaks the blocked layout around it).

int8: quantize/dequantize pairs (QDQ, the form that onnxruntime and OpenVINO both read), 8-bit feature maps with one
scale and zero point (signed: `map_type`), signed 8-bit weights with a scale for each output channel, 32-bit biases. An
activation that clips at 0 or 6 is not written: quantizing to a range that ends there clips as well, and a `Clip` left in
keeps the runtimes from fusing. The output stays fp32, with what is done to it; so does local response normalization, between
pairs. Source: ONNX operators QuantizeLinear and DequantizeLinear; onnxruntime documentation, "Quantize ONNX models".
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from mnsweep.arch.layer import LRN_ALPHA, LRN_BETA, LRN_BIAS, Layer
from mnsweep.graph.boxes import class_detections, proposals, roi_align, ssd_detections
from mnsweep.graph.nodes import FLOAT, INT8, INT32, INT64, UINT8, Attributes, Graph, Node, Tensor
from mnsweep.graph.pairs import dequantized, pair, quantize

__all__ = [
    "CLIPPING",
    "FLOAT",
    "INT8",
    "INT32",
    "INT64",
    "UINT8",
    "Graph",
    "Node",
    "Range",
    "Tensor",
    "map_names",
    "map_type",
    "to_graph",
]

Range: TypeAlias = tuple[float, float]  # least and greatest value of a feature map
CLIPPING = ("relu", "relu6")
_OUTPUTS = {"sigmoid": "probabilities", "l2_norm": "embedding"}  # by the last layer's activation; else logits
DETECTIONS = "detections"


def map_names(layers: Sequence[Layer]) -> list[str]:
    """The feature maps that an int8 graph quantizes, each with its own range: the image, and of every layer but the last."""
    return ["image", *(layer.name for layer in layers[:-1])]


def map_type(layers: Sequence[Layer]) -> str:
    """The type of quantized feature maps: signed, but unsigned where several layers read one of them.

    On x86 onnxruntime makes every signed one unsigned, but only where one reader follows; a convolution between a feature map
    that it changed and one that it did not stays in fp32.
    """
    read = [name for layer in layers for name in layer.inputs]
    return INT8 if len(read) == len(set(read)) else UINT8


def output(layers: Sequence[Layer]) -> Tensor:
    """Name and shape, for one image, of what the network says.

    `logits`, `probabilities` (of attributes) or `embedding` (1, outputs); `detections` (1, 100, 6), the likeliest first: top,
    left, bottom, right in shares of the image, probability, class; all zeros where nothing was found.
    """
    last = layers[-1]
    if last.op.endswith(DETECTIONS):
        return Tensor(DETECTIONS, (1, last.repeats, last.out_channels))
    return Tensor(_OUTPUTS.get(last.activation, "logits"), (1, last.out_channels))


def map_shape(layer: Layer) -> tuple[int, ...]:
    """What one layer within a network writes for one image: (repeats, channels, high, wide) or (repeats, channels)."""
    size = () if layer.op in ("linear", "proposals") else (layer.out_size, layer.out_size)
    return (layer.repeats, layer.out_channels, *size)


def to_graph(layers: Sequence[Layer], int8: bool = False) -> Graph:
    """The graph of `layers`, in fp32 or with int8 arithmetic."""
    first, last = layers[0], layers[-1]
    image = Tensor("image", (1, first.in_channels, first.in_size, first.in_size))
    graph = Graph(image, output(layers), {layer.name: layer for layer in layers}, map_type(layers))
    if int8:
        quantize(graph, "image", "image")
    elif any(layer.activation == "relu6" for layer in layers):
        graph.constant("clip.min", values=lambda: (0,))
        graph.constant("clip.max", values=lambda: (6,))
    for layer in layers:
        out = graph.output.name if layer is last else layer.name
        (_int8_layer if int8 else _float_layer)(graph, layer, out)
    return graph


def _float_layer(graph: Graph, layer: Layer, out: str) -> None:
    raw = out if layer.activation == "none" else f"{layer.name}.{_RAW.get(layer.op, layer.op)}"
    inputs = layer.inputs
    if layer.op == "linear":
        inputs = (graph.add("Flatten", f"{layer.name}.flat", *inputs),)
    _OPS[layer.op](graph, layer, (*inputs, *_weights(graph, layer)), raw)
    _activate(graph, layer, raw, out)


def _int8_layer(graph: Graph, layer: Layer, out: str) -> None:
    inputs = tuple(map(dequantized, layer.inputs))
    if layer.op == "linear":
        inputs = (_int8_flat(graph, layer, *inputs),)
    is_last = out != layer.name
    raw = out if is_last and layer.activation == "none" else f"{layer.name}.{_RAW.get(layer.op, layer.op)}"
    _OPS[layer.op](graph, layer, (*inputs, *_int8_weights(graph, layer)), raw)
    if is_last:
        _activate(graph, layer, raw, out)
    else:
        quantize(graph, raw, layer.name)


def _activate(graph: Graph, layer: Layer, raw: str, out: str) -> None:
    name = f"{layer.name}.{layer.activation}"
    if layer.activation == "relu6":
        graph.nodes.append(Node("Clip", name, (raw, "clip.min", "clip.max"), (out,)))
    elif layer.activation != "none":
        op, attributes = _ACTIVATIONS[layer.activation]
        graph.nodes.append(Node(op, name, (raw,), (out,), attributes))


def _window(layer: Layer) -> Attributes:
    return ("kernel_shape", layer.kernel), ("pads", layer.pads), ("strides", (layer.stride, layer.stride))


def _conv(graph: Graph, layer: Layer, inputs: tuple[str, ...], out: str) -> None:
    graph.nodes.append(Node("Conv", layer.name, inputs, (out,), (("group", layer.groups), *_window(layer))))


def _max_pool(graph: Graph, layer: Layer, inputs: tuple[str, ...], out: str) -> None:
    graph.nodes.append(Node("MaxPool", layer.name, inputs, (out,), _window(layer)))


def _avg_pool(graph: Graph, layer: Layer, inputs: tuple[str, ...], out: str) -> None:
    graph.nodes.append(Node("AveragePool", layer.name, inputs, (out,), (("count_include_pad", 1), *_window(layer))))


def _global_pool(graph: Graph, layer: Layer, inputs: tuple[str, ...], out: str) -> None:
    mean = f"{layer.name}.map" if out == graph.output.name else out
    graph.nodes.append(Node("GlobalAveragePool", layer.name, inputs, (mean,)))
    if mean != out:  # nothing behind it flattens it
        graph.nodes.append(Node("Flatten", f"{layer.name}.flat", (mean,), (out,)))


def _linear(graph: Graph, layer: Layer, inputs: tuple[str, ...], out: str) -> None:
    graph.nodes.append(Node("Gemm", layer.name, inputs, (out,), (("transB", 1),)))


def _concat(graph: Graph, layer: Layer, inputs: tuple[str, ...], out: str) -> None:
    graph.nodes.append(Node("Concat", layer.name, inputs, (out,), (("axis", 1),)))


def _lrn(graph: Graph, layer: Layer, inputs: tuple[str, ...], out: str) -> None:
    attributes = (("alpha", LRN_ALPHA), ("beta", LRN_BETA), ("bias", LRN_BIAS), ("size", layer.kernel[0]))
    graph.nodes.append(Node("LRN", layer.name, inputs, (out,), attributes))


def _weights(graph: Graph, layer: Layer) -> Iterator[str]:
    if layer.weight_shape:
        yield graph.constant(f"{layer.name}.weight", layer.weight_shape)
        yield graph.constant(f"{layer.name}.bias", (layer.out_channels,))


def _int8_flat(graph: Graph, layer: Layer, source: str) -> str:
    """Flatten on 8-bit numbers: a pair on both of its sides, with the same scale."""
    before, flat = layer.inputs[0], f"{layer.name}.flat"
    graph.add("Flatten", flat, source)
    return pair(graph, flat, flat, (f"{before}.scale", f"{before}.zero_point"))


def _int8_weights(graph: Graph, layer: Layer) -> Iterator[str]:
    """Weights (int8) and bias (int32, at the product of both scales), a scale for each output channel."""
    channels = (layer.out_channels,)
    parts = (("weight", layer.weight_shape, INT8), ("bias", channels, INT32)) if layer.weight_shape else ()
    for part, shape, dtype in parts:
        name = f"{layer.name}.{part}"
        inputs = (
            graph.constant(name, shape, dtype),
            graph.constant(f"{name}.scale", channels),
            graph.constant(f"{name}.zero_point", channels, dtype),
        )
        graph.nodes.append(Node("DequantizeLinear", f"{name}.dequantize", inputs, (dequantized(name),), (("axis", 0),)))
        yield dequantized(name)


_Writer = Callable[[Graph, Layer, tuple[str, ...], str], None]  # from the names of inputs and weights to the one of the output
_OPS: dict[str, _Writer] = {
    "conv": _conv,
    "linear": _linear,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_pool": _global_pool,
    "concat": _concat,
    "lrn": _lrn,
    "ssd_detections": ssd_detections,
    "proposals": proposals,
    "roi_align": roi_align,
    "class_detections": class_detections,
}
_RAW = {"global_pool": "mean"}  # what a layer computes before its activation or its quantization; else as its operation
_ACTIVATIONS: dict[str, tuple[str, Attributes]] = {
    "relu": ("Relu", ()),
    "sigmoid": ("Sigmoid", ()),
    "l2_norm": ("LpNormalization", (("axis", 1), ("p", 2))),
}
