"""Runtimes: which class runs a model, and how to install it. To add one, write that class and a row here."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One runtime; `implementation` is `module:Class` (see `worker/base.py`), loaded only by the worker process.

    `install` is the command that installs it, `package` the distribution whose version is recorded, `option` a pattern for
    the part after a colon in the name (empty: none allowed), `compare_with` the runtime to try if this one is slow. `session`
    are the settings of a session that is measured, beside precision and threads, in the runtime's own words. `file_format` is
    what it reads: `onnx` or `tflite`; its int8 kernels may take weights of all 8 bits on every processor (`takes_8_bits`).
    """

    name: str
    implementation: str
    install: str
    package: str
    option: str = ""
    compare_with: str
    session: Mapping[str, str]
    file_format: str = "onnx"
    takes_8_bits: bool = False


_ROWS = (
    Runtime(
        name="onnxruntime",
        implementation="mnsweep.worker.ort:OnnxRuntime",
        install="pip install onnxruntime",
        package="onnxruntime",
        option="[A-Za-z0-9]+ExecutionProvider",  # instead of its CPU kernels
        compare_with="openvino",
        session={
            "session.set_denormal_as_zero": "1",
            "session.force_spinning_stop": "1",  # open sessions must not take CPU time from each other
        },
    ),
    Runtime(
        name="openvino",
        implementation="mnsweep.worker.ov:OpenVino",
        install="pip install 'mnsweep[openvino]'",
        package="openvino",
        compare_with="onnxruntime",
        session={
            "NUM_STREAMS": "1",  # for the lowest latency
            "ENABLE_CPU_PINNING": "NO",  # the process is pinned already
            "CPU_DENORMALS_OPTIMIZATION": "YES",
        },
    ),
    Runtime(
        name="litert",
        implementation="mnsweep.worker.litert:LiteRt",
        install="pip install 'mnsweep[litert]'",
        package="ai-edge-litert",
        option="builtin|reference",  # its own kernels in place of XNNPACK's
        compare_with="onnxruntime",
        session={},
        file_format="tflite",
        takes_8_bits=True,
    ),
)
RUNTIMES: dict[str, Runtime] = {row.name: row for row in _ROWS}  # the default first


def canonical(name: str) -> str:
    """The shortest name of the same runtime.

    >>> canonical("onnxruntime:CPUExecutionProvider")
    'onnxruntime'
    """
    return "onnxruntime" if name == "onnxruntime:CPUExecutionProvider" else name


def runtime_named(name: str) -> Runtime:
    """The row of a runtime; an option after a colon in `name` is ignored.

    >>> runtime_named("onnxruntime:CUDAExecutionProvider").package
    'onnxruntime'
    """
    return RUNTIMES[name.partition(":")[0]]
