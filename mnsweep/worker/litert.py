"""A TensorFlow Lite file on LiteRT, with its default kernels (XNNPACK); requires the extra `mnsweep[litert]`."""

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from mnsweep.worker.base import Array


class LiteRt:
    """One interpreter of a file for one image at a time."""

    def __init__(self, content: bytes, threads: int, resolver: Any = None) -> None:
        settings = {} if resolver is None else {"experimental_op_resolver_type": resolver}
        self.interpreter = Interpreter(model_content=content, num_threads=threads, **settings)
        self.interpreter.allocate_tensors()
        (self.image,), (self.answers,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()

    def answer(self, images: Array) -> Array:
        """The file's output (1, classes) as floats, for one image (1, 3, R, R)."""
        self.interpreter.set_tensor(self.image["index"], self._quantized(images.transpose(0, 2, 3, 1)))
        self.interpreter.invoke()
        raw = self.interpreter.get_tensor(self.answers["index"]).astype(np.float32).reshape(1, -1)
        scale, zero_point = self.answers["quantization"]
        return np.asarray((raw - zero_point) * np.float32(scale) if scale else raw, np.float32)

    def _quantized(self, image: Array) -> Any:
        kind = self.image["dtype"]
        if kind == np.float32:
            return np.ascontiguousarray(image)
        scale, zero_point = self.image["quantization"]
        limits = np.iinfo(kind)
        return np.clip(np.rint(image / scale + zero_point), limits.min, limits.max).astype(kind)
