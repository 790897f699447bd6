"""Runtimes: each turns an ONNX model and settings into a callable that runs it once."""

from collections.abc import Callable

import numpy as np
import onnxruntime as ort

Run = Callable[[], None]


def versions() -> dict[str, str]:
    """What belongs to a measurement of this runtime."""
    return {"runtime": "onnxruntime", "runtime_version": ort.__version__}


def open_onnxruntime(model: bytes, threads: int) -> Run:
    """A callable that runs `model` once on one fixed random image batch, fp32, of the shape it asks for.

    All graph optimizations, `threads` intra-op threads, one inter-op thread, denormals flushed, and no
    spinning between runs, so that one open session does not take the CPU from another. Raises
    `ValueError` when the network's output is not finite (it would be timed with numbers that no real
    network has), and whatever onnxruntime raises on a model it does not take.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    feed = {image.name: np.random.default_rng(0).standard_normal(image.shape, dtype=np.float32)}

    def run() -> None:
        session.run(None, feed)

    if not all(np.isfinite(output).all() for output in session.run(None, feed)):
        raise ValueError("the output is not finite")
    return run
