"""From cells to ONNX files: runtime offers, channel padding, int8 ranges."""
