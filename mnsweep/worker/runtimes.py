"""Runtimes: each turns an ONNX model and settings into something that runs, and says what it offers here.

To add one: write a class like those in `ort.py` and `ov.py` (two methods), name it in `_CLASSES` below and in
`mnsweep.cell.CHOICES`. Only the worker process loads a runtime: everyone else asks it.
"""

from importlib import import_module

from mnsweep.worker.base import Offer, Runtime

_CLASSES = {
    "onnxruntime": "mnsweep.worker.ort:OnnxRuntime",
    "openvino": "mnsweep.worker.ov:OpenVino",
}
INSTALL = {"onnxruntime": "pip install onnxruntime", "openvino": "pip install 'mnsweep[openvino]'"}


def load(name: str) -> Runtime:
    """The runtime `name`, or `name:option`; raises `ImportError` where it is not installed."""
    runtime, _, option = name.partition(":")
    module, _, cls = _CLASSES[runtime].partition(":")
    return getattr(import_module(module), cls)(option)  # type: ignore[no-any-return]


def offer(name: str) -> Offer:
    """What the runtime offers on this machine; where it can't be loaded, why, and the command that installs it."""
    try:
        return load(name).offer()
    except ImportError as error:
        return Offer(obstacle=f"{name} can't be loaded ({error}): {INSTALL.get(name.partition(':')[0], 'install it')}")
