"""The ONNX graph of a network without weight values: named nodes, and the shapes of their inputs.

`onnx_file.py` fills the graph with arrays and writes the file; `file_size.py` computes the size of that file.

fp32: batch norm is folded. ReLU6 is a `Clip` with constant bounds, which onnxruntime fuses into the convolution
(a Min/Max pair does not fuse, and breaks the blocked layout around it).

int8: the graph has quantize/dequantize pairs (QDQ, which both onnxruntime and OpenVINO read). Feature maps are 8-bit with
one scale and zero point each (signedness: see `map_type`). Weights are signed 8-bit with one scale per output channel.
Biases are 32-bit. An activation that clips at 0 or 6 is omitted: a quantization range that ends there clips as well, and an
explicit `Clip` would prevent fusion. The last layer's output stays fp32, and so does its activation. Local response
normalization also runs in fp32, between pairs.
Source: ONNX operators QuantizeLinear and DequantizeLinear; onnxruntime documentation, "Quantize ONNX models".
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from mnsweep.arch.layer import LRN_ALPHA, LRN_BETA, LRN_BIAS, Layer
from mnsweep.graph.boxes import class_detections, proposals, roi_align, ssd_detections
from mnsweep.graph.nodes import FLOAT, INT8, INT32, INT64, UINT8, Attributes, Form, Graph, Node, Tensor
from mnsweep.graph.pairs import dequantized, pair, quantize

__all__ = [
    "CLIPPING",
    "FLOAT",
    "INT8",
    "INT32",
    "INT64",
    "UINT8",
    "Form",
    "Graph",
    "Node",
    "Range",
    "Tensor",
    "map_names",
    "map_type",
    "to_graph",
]

Range: TypeAlias = tuple[float, float]  # minimum and maximum of a feature map
CLIPPING = ("relu", "relu6")
_OUTPUTS = {"sigmoid": "probabilities", "l2_norm": "embedding"}  # by activation of the last layer; otherwise logits
DETECTIONS = "detections"


def map_names(layers: Sequence[Layer]) -> list[str]:
    """Names of the feature maps that an int8 graph quantizes: the image, and the output of every layer but the last."""
    return ["image", *(layer.name for layer in layers[:-1])]


def map_type(layers: Sequence[Layer]) -> str:
    """The type of all quantized feature maps: int8, or uint8 if any of them is read by several layers.

    On x86, onnxruntime converts int8 feature maps to uint8, but only those with a single reader. A convolution between a
    converted and an unconverted feature map would stay in fp32.
    """
    read = [name for layer in layers for name in layer.inputs]
    return INT8 if len(read) == len(set(read)) else UINT8


def output(layers: Sequence[Layer]) -> Tensor:
    """Name and shape of the network's output for one image.

    It is `logits`, `probabilities` (of attributes) or `embedding`, each (1, outputs), or `detections` (1, 100, 6). A
    detection is top, left, bottom, right (fractions of the image), probability, and class. Detections are sorted by
    falling probability; unused ones are all zeros.
    """
    last = layers[-1]
    if last.op.endswith(DETECTIONS):
        return Tensor(DETECTIONS, (1, last.repeats, last.out_channels))
    return Tensor(_OUTPUTS.get(last.activation, "logits"), (1, last.out_channels))


def map_shape(layer: Layer) -> tuple[int, ...]:
    """Output shape of a layer for one image: (repeats, channels, height, width) or (repeats, channels)."""
    size = () if layer.op in ("linear", "proposals") else (layer.out_size, layer.out_size)
    return (layer.repeats, layer.out_channels, *size)


def to_graph(layers: Sequence[Layer], int8: bool = False, form: Form | None = None) -> Graph:
    """The graph of `layers` in fp32 or int8, in the `form` of a calibrated network unless given; shapes are for one image."""
    first, last = layers[0], layers[-1]
    image = Tensor("image", (1, first.in_channels, first.in_size, first.in_size))
    form = form or Form(maps=map_type(layers))
    graph = Graph(image, output(layers), {layer.name: layer for layer in layers}, form)
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
    stays_float = is_last and not graph.form.ends_in_8_bits
    raw = out if stays_float and layer.activation == "none" else f"{layer.name}.{_RAW.get(layer.op, layer.op)}"
    _OPS[layer.op](graph, layer, (*inputs, *_int8_weights(graph, layer)), raw)
    if stays_float:
        _activate(graph, layer, raw, out)
    elif is_last and layer.activation != "none":
        _activate(graph, layer, quantize(graph, raw, layer.name), out)
    else:
        quantize(graph, raw, layer.name, out if is_last else "")


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
    if mean != out:  # the last layer must flatten its own output
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
    """Flatten in 8 bits: a quantize/dequantize pair on each side, with the same scale."""
    before, flat = layer.inputs[0], f"{layer.name}.flat"
    graph.add("Flatten", flat, source)
    return pair(graph, flat, flat, (f"{before}.scale", f"{before}.zero_point"))


def _int8_weights(graph: Graph, layer: Layer) -> Iterator[str]:
    """Add weights (8 bits) and bias (int32) with their scales; the bias scale is input scale × weight scale."""
    channels = (layer.out_channels,)
    scales, axis = (channels, (("axis", 0),)) if graph.form.per_channel else ((), ())
    parts = (("weight", layer.weight_shape, graph.form.weights), ("bias", channels, INT32)) if layer.weight_shape else ()
    for part, shape, dtype in parts:
        name = f"{layer.name}.{part}"
        inputs = (
            graph.constant(name, shape, dtype),
            graph.constant(f"{name}.scale", scales),
            graph.constant(f"{name}.zero_point", scales, dtype),
        )
        graph.nodes.append(Node("DequantizeLinear", f"{name}.dequantize", inputs, (dequantized(name),), axis))
        yield dequantized(name)


_Writer = Callable[[Graph, Layer, tuple[str, ...], str], None]  # takes the names of inputs (weights included) and output
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
_RAW = {"global_pool": "mean"}  # suffix of the tensor before activation or quantization; otherwise the operation
_ACTIVATIONS: dict[str, tuple[str, Attributes]] = {
    "relu": ("Relu", ()),
    "sigmoid": ("Sigmoid", ()),
    "l2_norm": ("LpNormalization", (("axis", 1), ("p", 2))),
}
