"""Runtimes: each turns an ONNX model and settings into something that runs, and says what it offers here.

To add one: write a class like those in `ort.py` and `ov.py` (two methods) and its row in `mnsweep/names/runtimes.py`.
Only the worker process loads a runtime: everyone else asks it.
"""

from importlib import import_module

from mnsweep.names import runtime_named
from mnsweep.worker.base import Offer, Runtime


def load(name: str) -> Runtime:
    """The runtime `name`, or `name:option`; raises `ImportError` where it is not installed."""
    module, _, cls = runtime_named(name).implementation.partition(":")
    option = name.partition(":")[2]
    return getattr(import_module(module), cls)(option)  # type: ignore[no-any-return]


def offer(name: str) -> Offer:
    """What the runtime offers on this machine; where it can't be loaded, why, and the command that installs it."""
    try:
        return load(name).offer()
    except ImportError as error:
        return Offer(obstacle=f"{name} can't be loaded ({error}): {runtime_named(name).install}")
