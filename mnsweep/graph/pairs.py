"""Quantize/dequantize pairs (QDQ), the form of 8-bit arithmetic that onnxruntime and OpenVINO both read.

Source: ONNX operators QuantizeLinear and DequantizeLinear; onnxruntime documentation, "Quantize ONNX models".
"""

from mnsweep.graph.nodes import Graph, Node


def dequantized(name: str) -> str:
    """What readers of a quantized tensor read."""
    return f"{name}.dequantized"


def quantize(graph: Graph, source: str, name: str) -> str:
    """A pair behind `source`: the feature map `name`, at a scale and a zero point of its own; what its readers read."""
    scale = (graph.constant(f"{name}.scale"), graph.constant(f"{name}.zero_point", (), graph.map_type))
    return pair(graph, source, name, scale)


def pair(graph: Graph, source: str, name: str, scale: tuple[str, str]) -> str:
    """A pair behind `source`, at this scale and zero point; what its readers read."""
    graph.nodes.append(Node("QuantizeLinear", f"{name}.quantize", (source, *scale), (f"{name}.quantized",)))
    graph.nodes.append(Node("DequantizeLinear", f"{name}.dequantize", (f"{name}.quantized", *scale), (dequantized(name),)))
    return dequantized(name)
