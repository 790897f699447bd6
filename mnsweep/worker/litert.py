"""LiteRT, the interpreter of TensorFlow Lite files; requires the extra `mnsweep[litert]`.

Its default kernels are XNNPACK's; `litert:builtin` runs its own, `litert:reference` the plain ones that the others are
tested against.
"""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from mnsweep.worker.base import Array, Fed, Input, NodeTime, Offer, Run

RESOLVERS = {
    "": OpResolverType.AUTO,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}


class LiteRtSession:
    """One interpreter. Files take (batch, R, R, 3), as floats or as bytes with a scale; sessions take (batch, 3, R, R)."""

    def __init__(self, interpreter: Any) -> None:
        self.interpreter = interpreter
        interpreter.allocate_tensors()
        (self.image,), (self.answer,) = interpreter.get_input_details(), interpreter.get_output_details()
        batch, height, width, channels = (int(size) for size in self.image["shape"])
        self.shape: tuple[int, ...] = (batch, channels, height, width)

    def outputs(self, images: Array) -> dict[str, Array]:
        """The output by its name for one batch (batch, 3, R, R); bytes become the floats that they stand for."""
        self.bound(images)()
        raw = self.interpreter.get_tensor(self.answer["index"])
        scale, zero_point = self.answer["quantization"]
        values = (raw.astype(np.float32) - zero_point) * np.float32(scale) if scale else raw
        return {self.answer["name"]: np.array(values, np.float32)}

    def bound(self, images: Array) -> Run:
        """A callable that runs this batch (batch, 3, R, R) once; the interpreter keeps a copy of it."""
        self.interpreter.set_tensor(self.image["index"], self._in_its_type(images.transpose(0, 2, 3, 1)))
        invoke: Run = self.interpreter.invoke
        return invoke

    def node_times(self, images: Array, runs: int) -> list[NodeTime]:
        """Raises `ValueError`: LiteRT's Python package has no profiler."""
        raise ValueError("LiteRT's Python package does not tell the time of each operator")

    def _in_its_type(self, image: Array) -> Any:
        kind = self.image["dtype"]
        if kind == np.float32:
            return np.ascontiguousarray(image)
        scale, zero_point = self.image["quantization"]
        limits = np.iinfo(kind)
        return np.clip(np.rint(image / np.float32(scale)) + zero_point, limits.min, limits.max).astype(kind)


class LiteRt:
    """LiteRT on the CPU; `option` is one of `RESOLVERS`."""

    def __init__(self, option: str = "") -> None:
        if option not in RESOLVERS:
            raise ImportError(f"litert has no option {option!r}")
        self.resolver = RESOLVERS[option]

    def offer(self) -> Offer:
        """The version; all kernels have fp32 and int8."""
        return Offer(version("ai-edge-litert"), ("fp32", "int8"))

    def open(self, model: bytes | Path, precision: str, threads: int, *, profiled: bool = False) -> LiteRtSession:
        """An interpreter with `threads` threads. Raises `ValueError` or `RuntimeError` if it does not accept the file."""
        content = {"model_path": str(model)} if isinstance(model, Path) else {"model_content": model}
        return LiteRtSession(Interpreter(**content, num_threads=threads, experimental_op_resolver_type=self.resolver))

    def inputs(self, path: Path) -> list[Input]:
        """What the model takes."""
        return [_input(each) for each in self._interpreter(path, 1).get_input_details()]

    def open_fed(self, fed: Fed, precision: str, threads: int) -> tuple[Run, Callable[[], list[NDArray[Any]]]]:
        """A run of a file on its feeds, which the interpreter copies once, and its outputs."""
        interpreter = self._interpreter(fed.path, threads)
        at = {each["name"]: each["index"] for each in interpreter.get_input_details()}
        for name, array in fed.feeds.items():
            interpreter.resize_tensor_input(at[name], array.shape)
        interpreter.allocate_tensors()
        for name, array in fed.feeds.items():
            interpreter.set_tensor(at[name], array)

        def outputs() -> list[NDArray[Any]]:
            interpreter.invoke()
            return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]

        return lambda: interpreter.invoke(), outputs

    def _interpreter(self, path: Path, threads: int) -> Any:
        return Interpreter(model_path=str(path), num_threads=threads, experimental_op_resolver_type=self.resolver)


def _input(details: Any) -> Input:
    sizes = details.get("shape_signature", details["shape"])
    return Input(details["name"], np.dtype(details["dtype"]).name, tuple(None if n < 0 else int(n) for n in sizes))
