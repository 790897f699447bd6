"""OpenVINO on the CPU; requires the extra `mnsweep[openvino]`."""

import sys
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mnsweep.names import RUNTIMES
from mnsweep.worker.base import PROFILED_RUNS, Array, Fed, Input, NodeTime, Offer, Run

# The telemetry package would fork a process that sends usage data and inherits the pipes of this process.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino  # noqa: E402
import openvino.properties as properties  # noqa: E402
import openvino.properties.hint as hint  # noqa: E402

DEVICE = "CPU"
CAPABILITIES = {"FP32": "fp32", "BF16": "bf16", "INT8": "int8"}  # OpenVINO's name → our name
TYPES = {"fp32": openvino.Type.f32, "bf16": openvino.Type.bf16, "int8": openvino.Type.f32}  # unquantized operators


class OvSession:
    """One compiled model with one infer request."""

    def __init__(self, compiled: Any) -> None:
        self.shape: tuple[int, ...] = tuple(compiled.input(0).shape)
        self.compiled = compiled
        self.request = compiled.create_infer_request()

    def outputs(self, images: Array) -> dict[str, Array]:
        """The outputs by name for one batch (batch, 3, R, R)."""
        self.bound(images)()
        return {port.get_any_name(): self.request.get_tensor(port).data.copy() for port in self.compiled.outputs}

    def bound(self, images: Array) -> Run:
        """A callable that runs this batch (batch, 3, R, R) once."""
        self.request.set_input_tensor(openvino.Tensor(images, shared_memory=True))
        infer = self.request.infer

        def run(kept: Array = images) -> None:  # keeps the array alive: the request shares its memory
            infer()

        return run

    def node_times(self, images: Array, runs: int) -> list[NodeTime]:
        """Averages of OpenVINO's performance counters."""
        run = self.bound(images)
        for _ in range(PROFILED_RUNS):
            run()
        times: dict[tuple[str, str, str], float] = defaultdict(float)
        for _ in range(runs):
            run()
            for node in self.request.profiling_info:
                if node.status == openvino.ProfilingInfo.Status.EXECUTED:
                    times[node.node_name, node.node_type, node.exec_type] += node.real_time.total_seconds()
        return [
            NodeTime(name=name, op=op, implementation=implementation, ns=1e9 * total / runs)
            for (name, op, implementation), total in times.items()
        ]


class OpenVino:
    """OpenVINO's CPU plugin with one stream, the setting for the lowest latency."""

    def __init__(self, option: str = "") -> None:
        if option:
            raise ImportError(f"openvino has no option {option!r}")
        self.core = openvino.Core()

    def offer(self) -> Offer:
        """The version, and the precisions that this CPU supports."""
        capabilities = self.core.get_property(DEVICE, properties.device.capabilities)
        return Offer(version("openvino"), tuple(ours for theirs, ours in CAPABILITIES.items() if theirs in capabilities))

    def open(self, model: bytes | Path, precision: str, threads: int, *, profiled: bool = False) -> OvSession:
        """Compile with `threads` threads and one stream; raises `ValueError` if a different precision would run."""
        read = self.core.read_model(model.read_bytes() if isinstance(model, Path) else model)
        return OvSession(self._compiled(read, precision, threads, profiled))

    def inputs(self, path: Path) -> list[Input]:
        """What the model takes."""
        return [_input(port) for port in self.core.read_model(path).inputs]

    def open_fed(self, fed: Fed, precision: str, threads: int) -> tuple[Run, Callable[[], list[NDArray[Any]]]]:
        """A run of a file on its feeds, and its outputs."""
        model = self.core.read_model(fed.path)
        model.reshape({name: list(array.shape) for name, array in fed.feeds.items()})
        request = self._compiled(model, precision, threads).create_infer_request()
        for name, array in fed.feeds.items():
            request.set_tensor(name, openvino.Tensor(array))

        def outputs() -> list[NDArray[Any]]:
            request.infer()
            return [tensor.data.copy() for tensor in request.output_tensors]

        return lambda: request.infer(), outputs

    def _compiled(self, model: Any, precision: str, threads: int, profiled: bool = False) -> Any:
        settings: dict[Any, Any] = {
            **RUNTIMES["openvino"].session,
            hint.inference_precision: TYPES[precision],
            properties.inference_num_threads: threads,
            properties.enable_profiling: profiled,
        }
        compiled = self.core.compile_model(model, DEVICE, settings)
        runs = compiled.get_property(hint.inference_precision)
        if runs != TYPES[precision]:
            raise ValueError(f"asked for {precision}, OpenVINO would run {runs.get_type_name()} on this CPU")
        return compiled


def _input(port: Any) -> Input:
    shape = tuple(None if size.is_dynamic else size.get_length() for size in port.get_partial_shape())
    return Input(port.get_any_name(), str(port.get_element_type().to_dtype()), shape)
