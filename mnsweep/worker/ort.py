"""ONNX Runtime on the CPU (`onnxruntime`) or on another execution provider, e.g. `onnxruntime:CUDAExecutionProvider`."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from mnsweep.names import RUNTIMES
from mnsweep.worker.base import PROFILED_RUNS, Array, Fed, Input, NodeTime, Offer, Run

CPU = "CPUExecutionProvider"
PACKAGES = {  # by provider; a provider that is not listed requires a custom build
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "TensorrtExecutionProvider": "onnxruntime-gpu",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "DmlExecutionProvider": "onnxruntime-directml",
    "QNNExecutionProvider": "onnxruntime-qnn",
}
_KERNEL = "_kernel_time"
_DTYPES = {"float": "float32", "double": "float64", "float16": "float16", "bool": "bool"}  # the others bear numpy's names


class OrtSession:
    """One `InferenceSession`."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session = session
        self.image = session.get_inputs()[0]
        self.shape: tuple[int, ...] = tuple(self.image.shape)

    def outputs(self, images: Array) -> dict[str, Array]:
        """The outputs by name for one batch (batch, 3, R, R)."""
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, {self.image.name: images}), strict=True))

    def bound(self, images: Array) -> Run:
        """A callable that runs this batch (batch, 3, R, R) once."""
        session, feed = self.session, {self.image.name: images}

        def run() -> None:
            session.run(None, feed)

        return run

    def node_times(self, images: Array, runs: int) -> list[NodeTime]:
        """Averages from onnxruntime's profiler, which counts whole microseconds; this ends profiling for the session."""
        run = self.bound(images)
        for _ in range(PROFILED_RUNS + runs):
            run()
        path = Path(self.session.end_profiling())
        times: dict[tuple[str, str], list[int]] = defaultdict(list)
        for event in json.loads(path.read_text()):
            if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
                times[event["name"].removesuffix(_KERNEL), event["args"]["op_name"]].append(event["dur"])
        path.unlink()
        path.parent.rmdir()
        return [
            NodeTime(name=name, op=op, implementation=_layout(name, op), ns=1e3 * sum(us[-runs:]) / runs)
            for (name, op), us in times.items()
        ]


def _input(found: Any) -> Input:
    kind = found.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else None for size in found.shape)
    return Input(found.name, _DTYPES.get(kind, kind), shape)


def _layout(name: str, op: str) -> str:
    return "blocked" if name.endswith("_nchwc") or op.startswith("Reorder") else ""


class OnnxRuntime:
    """ONNX Runtime with all graph optimizations and sequential execution."""

    def __init__(self, option: str = "") -> None:
        self.provider = option or CPU

    def offer(self) -> Offer:
        """The precisions: fp32 and int8 on the CPU; fp32 on another provider, if this build of onnxruntime has it."""
        if self.provider in ort.get_available_providers():
            return Offer(ort.__version__, ("fp32", "int8") if self.provider == CPU else ("fp32",))
        package = PACKAGES.get(self.provider)
        fix = f"pip install {package} in place of onnxruntime" if package else "it needs its own build of onnxruntime"
        has = ", ".join(ort.get_available_providers())
        return Offer(obstacle=f"this onnxruntime has no {self.provider} (it has {has}): {fix}")

    def open(self, model: bytes | Path, precision: str, threads: int, *, profiled: bool = False) -> OrtSession:
        """A session with `threads` intra-op threads, denormals flushed to zero, and no spinning between runs.

        Raises `ValueError` if the
        execution provider does not accept the model.
        """
        return OrtSession(self._session(model, threads, profiled))

    def inputs(self, path: Path) -> list[Input]:
        """What the model takes."""
        session = ort.InferenceSession(str(path), providers=[CPU])
        return [_input(each) for each in session.get_inputs()]

    def open_fed(self, fed: Fed, precision: str, threads: int) -> tuple[Run, Callable[[], list[NDArray[Any]]]]:
        """A run of a file on its feeds, and its outputs; `precision` is that of the file."""
        session, feeds = self._session(fed.path, threads), dict(fed.feeds)

        def run() -> None:
            session.run(None, feeds)

        return run, lambda: [output for output in session.run(None, feeds) if hasattr(output, "dtype")]

    def _session(self, model: bytes | Path, threads: int, profiled: bool = False) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        for name, value in RUNTIMES["onnxruntime"].session.items():
            options.add_session_config_entry(name, value)
        if self.provider != CPU:  # time only the requested provider
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if profiled:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(tempfile.mkdtemp()) / "profile")
        session = ort.InferenceSession(str(model) if isinstance(model, Path) else model, options, providers=[self.provider])
        if self.provider not in session.get_providers():
            raise ValueError(f"{self.provider} did not take the model; it would run on {session.get_providers()[0]}")
        return session
