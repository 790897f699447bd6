"""The ONNX graph of a network, without its numbers: nodes by name, and the shapes of what they read.

`build/onnx_graph.py` writes it with arrays, `onnx_bytes.py` counts the bytes of that file; both read this.

fp32: batch norm is folded; ReLU6 is `Clip` with constant bounds, which onnxruntime fuses into the convolution
(a Min/Max pair does not fuse, and breaks the blocked layout around it).

int8: quantize/dequantize pairs (QDQ, the form that onnxruntime and OpenVINO both read), signed 8-bit maps with one
scale and zero point, signed 8-bit weights with a scale for each output channel, 32-bit biases. An activation that
clips at 0 or 6 is not written: quantizing to a range that ends there clips as well, and a `Clip` left in
keeps the runtimes from fusing. Logits stay fp32. Source: ONNX operators QuantizeLinear and
DequantizeLinear; onnxruntime documentation, "Quantize ONNX models".
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from mnsweep.arch.layers import Layer

Range: TypeAlias = tuple[float, float]  # least and greatest value of a map
FLOAT, INT8, INT32 = "float32", "int8", "int32"
CLIPPING = ("relu", "relu6")


class Tensor(NamedTuple):
    """A named array: a constant of the graph, its input or its output."""

    name: str
    shape: tuple[int, ...]
    dtype: str = FLOAT


class Node(NamedTuple):
    """One ONNX operator; `attributes` are (name, whole number or numbers)."""

    op: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: tuple[tuple[str, int | tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in running order, constants in the order they are written; shapes are for one image."""

    image: Tensor
    logits: Tensor
    nodes: list[Node] = field(default_factory=list)
    constants: list[Tensor] = field(default_factory=list)

    def constant(self, name: str, shape: tuple[int, ...] = (), dtype: str = FLOAT) -> str:
        """Add a constant; its name."""
        self.constants.append(Tensor(name, shape, dtype))
        return name


def map_names(layers: Sequence[Layer]) -> list[str]:
    """The maps that an int8 graph quantizes, each with a range of its own: the image and what every row but the last writes."""
    return ["image", *(layer.name for layer in layers[:-1])]


def to_graph(layers: Sequence[Layer], int8: bool = False) -> Graph:
    """The graph of `layers`, in fp32 or with int8 arithmetic."""
    first, last = layers[0], layers[-1]
    image = Tensor("image", (1, first.in_channels, first.in_size, first.in_size))
    graph = Graph(image, Tensor("logits", (1, last.out_channels)))
    if int8:
        _quantize(graph, "image", "image")
    elif any(layer.activation == "relu6" for layer in layers):
        graph.constant("clip.min")
        graph.constant("clip.max")
    for layer in layers:
        (_INT8 if int8 else _FLOAT)[layer.op](graph, layer)
    return graph


def conv_attributes(layer: Layer) -> tuple[tuple[str, int | tuple[int, ...]], ...]:
    """Attributes of a Conv node, by name."""
    before, after = layer.padding
    return (
        ("group", layer.groups),
        ("kernel_shape", (layer.kernel, layer.kernel)),
        ("pads", (before, before, after, after)),
        ("strides", (layer.stride, layer.stride)),
    )


def _conv(graph: Graph, layer: Layer) -> None:
    out = layer.name if layer.activation == "none" else f"{layer.name}.conv"
    graph.nodes.append(Node("Conv", layer.name, (*layer.inputs, *_weights(graph, layer)), out, conv_attributes(layer)))
    if layer.activation == "relu6":
        graph.nodes.append(Node("Clip", f"{layer.name}.relu6", (out, "clip.min", "clip.max"), layer.name))
    elif layer.activation == "relu":
        graph.nodes.append(Node("Relu", f"{layer.name}.relu", (out,), layer.name))


def _pool(graph: Graph, layer: Layer) -> None:
    graph.nodes.append(Node("GlobalAveragePool", layer.name, layer.inputs, layer.name))


def _linear(graph: Graph, layer: Layer) -> None:
    flat = f"{layer.name}.flat"
    graph.nodes.append(Node("Flatten", flat, layer.inputs, flat))
    graph.nodes.append(Node("Gemm", layer.name, (flat, *_weights(graph, layer)), "logits", (("transB", 1),)))


def _weights(graph: Graph, layer: Layer) -> Iterator[str]:
    yield graph.constant(f"{layer.name}.weight", layer.weight_shape)
    yield graph.constant(f"{layer.name}.bias", (layer.out_channels,))


def _int8_conv(graph: Graph, layer: Layer) -> None:
    out = f"{layer.name}.conv"
    inputs = (_dequantized(layer.inputs[0]), *_int8_weights(graph, layer))
    graph.nodes.append(Node("Conv", layer.name, inputs, out, conv_attributes(layer)))
    _quantize(graph, out, layer.name)


def _int8_pool(graph: Graph, layer: Layer) -> None:
    out = f"{layer.name}.mean"
    graph.nodes.append(Node("GlobalAveragePool", layer.name, (_dequantized(layer.inputs[0]),), out))
    _quantize(graph, out, layer.name)


def _int8_linear(graph: Graph, layer: Layer) -> None:
    """Flatten on 8-bit numbers: a pair on both of its sides, with the same scale."""
    source, flat = layer.inputs[0], f"{layer.name}.flat"
    graph.nodes.append(Node("Flatten", flat, (_dequantized(source),), flat))
    scale = (f"{source}.scale", f"{source}.zero_point")
    graph.nodes.append(Node("QuantizeLinear", f"{flat}.quantize", (flat, *scale), f"{flat}.quantized"))
    graph.nodes.append(Node("DequantizeLinear", f"{flat}.dequantize", (f"{flat}.quantized", *scale), _dequantized(flat)))
    inputs = (_dequantized(flat), *_int8_weights(graph, layer))
    graph.nodes.append(Node("Gemm", layer.name, inputs, "logits", (("transB", 1),)))


def _dequantized(name: str) -> str:
    return f"{name}.dequantized"


def _quantize(graph: Graph, source: str, name: str) -> None:
    """A pair behind `source`: the map `name`, at its own scale and zero point."""
    scale = (graph.constant(f"{name}.scale"), graph.constant(f"{name}.zero_point", (), INT8))
    graph.nodes.append(Node("QuantizeLinear", f"{name}.quantize", (source, *scale), f"{name}.quantized"))
    graph.nodes.append(Node("DequantizeLinear", f"{name}.dequantize", (f"{name}.quantized", *scale), _dequantized(name)))


def _int8_weights(graph: Graph, layer: Layer) -> Iterator[str]:
    """Weights (int8) and bias (int32, at the product of both scales), a scale for each output channel."""
    channels = (layer.out_channels,)
    for part, shape, dtype in (("weight", layer.weight_shape, INT8), ("bias", channels, INT32)):
        name = f"{layer.name}.{part}"
        inputs = (
            graph.constant(name, shape, dtype),
            graph.constant(f"{name}.scale", channels),
            graph.constant(f"{name}.zero_point", channels, dtype),
        )
        graph.nodes.append(Node("DequantizeLinear", f"{name}.dequantize", inputs, _dequantized(name), (("axis", 0),)))
        yield _dequantized(name)


_Writer = Callable[[Graph, Layer], None]
_FLOAT: dict[str, _Writer] = {"conv": _conv, "global_pool": _pool, "linear": _linear}
_INT8: dict[str, _Writer] = {"conv": _int8_conv, "global_pool": _int8_pool, "linear": _int8_linear}
