"""From rows to something that runs: weights as named arrays, a torch module, an ONNX graph."""
