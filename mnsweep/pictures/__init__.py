"""Pictures: finding, decoding, cropping and scaling them to a network's input."""
