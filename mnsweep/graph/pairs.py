"""Quantize/dequantize pairs (QDQ), the form of 8-bit arithmetic that both onnxruntime and OpenVINO read.

Source: ONNX operators QuantizeLinear and DequantizeLinear; onnxruntime documentation, "Quantize ONNX models".
"""

from mnsweep.graph.nodes import Graph, Node


def dequantized(name: str) -> str:
    """Name of the dequantized tensor, which the consumers of a quantized tensor read."""
    return f"{name}.dequantized"


def quantize(graph: Graph, source: str, name: str, out: str = "") -> str:
    """Add a pair after `source` for the feature map `name`, with a new scale and zero point; return the dequantized name.

    That is `out` where it is given.
    """
    scale = (graph.constant(f"{name}.scale"), graph.constant(f"{name}.zero_point", (), graph.form.maps))
    return pair(graph, source, name, scale, out)


def pair(graph: Graph, source: str, name: str, scale: tuple[str, str], out: str = "") -> str:
    """Add a pair after `source` with the given (scale, zero point); return the dequantized name."""
    out = out or dequantized(name)
    graph.nodes.append(Node("QuantizeLinear", f"{name}.quantize", (source, *scale), (f"{name}.quantized",)))
    graph.nodes.append(Node("DequantizeLinear", f"{name}.dequantize", (f"{name}.quantized", *scale), (out,)))
    return out
