"""Find out which MobileNet to ship on this machine.

    import mnsweep

    mnsweep.count(alpha="0.25:1.0:0.25", res=[128, 224])   # counts only, immediate
    results = mnsweep.grid(quick=True)                     # measured here
    mnsweep.explore()                                      # a thousand designs from about 20 measurements
    mnsweep.pick(max_latency_ms=20).choice
    mnsweep.export(0.5, 160, "model.onnx")

Names are loaded on first use, so `import mnsweep` is fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnsweep.api import count, explore, export, grid, pick, predict

__version__ = "0.1.0"
__all__ = ["__version__", "count", "explore", "export", "grid", "pick", "predict"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'mnsweep' has no attribute {name!r}")
    import mnsweep.api

    return getattr(mnsweep.api, name)
