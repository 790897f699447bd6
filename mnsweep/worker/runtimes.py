"""Runtimes: each prepares ONNX models to run, and reports what it offers on this machine.

To add one, write a class like those in `ort.py` and `ov.py` (two methods), and add it to `mnsweep/names/runtimes.py`.
Only the worker process loads runtimes; all other code sends requests to the worker.
"""

from importlib import import_module

from mnsweep.names import runtime_named
from mnsweep.worker.base import Offer, Runtime


def load(name: str) -> Runtime:
    """Load the runtime `name` or `name:option`; raises `ImportError` if it is not installed."""
    module, _, cls = runtime_named(name).implementation.partition(":")
    option = name.partition(":")[2]
    return getattr(import_module(module), cls)(option)  # type: ignore[no-any-return]


def offer(name: str) -> Offer:
    """What the runtime offers on this machine; if it can't be loaded, the reason and the command that installs it."""
    try:
        return load(name).offer()
    except ImportError as error:
        return Offer(obstacle=f"{name} can't be loaded ({error}): {runtime_named(name).install}")
