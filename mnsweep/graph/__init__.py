"""Build ONNX graphs from layers: nodes, exact file sizes, weights, quantization; also a torch module."""
