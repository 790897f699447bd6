"""From layers to ONNX: nodes, exact file sizes, weights, quantization, a torch module."""
