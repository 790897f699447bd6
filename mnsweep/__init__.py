"""Find out which MobileNet to ship on this machine.

    import mnsweep

    mnsweep.count(alpha="0.25:1.0:0.25", res=[128, 224])   # counts only, immediate
    results = mnsweep.grid(quick=True)                     # measured here
    mnsweep.explore()                                      # a thousand designs from a dozen measurements
    mnsweep.pick(max_latency_ms=20)
    mnsweep.plot_pareto(results)                           # into your own axes, if you pass them
    mnsweep.export(0.5, 160, "model.onnx")
    mnsweep.import_weights("mobilenet.tflite", "weights.safetensors")

Names are loaded on first use, so `import mnsweep` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mnsweep.version import VERSION

if TYPE_CHECKING:
    from mnsweep.api import count, explore, export, grid, pick, predict
    from mnsweep.charts import plot_cliffs, plot_mult_adds, plot_pareto, plot_roofline
    from mnsweep.checks import doctor, paper, profile
    from mnsweep.comparisons import compare, report, time
    from mnsweep.errors import MnsweepError as MnsweepError
    from mnsweep.errors import StoreError as StoreError
    from mnsweep.errors import UnavailableError as UnavailableError
    from mnsweep.fleets import fleet_status
    from mnsweep.networks import classify, data, evaluate, import_weights
    from mnsweep.trainings import train

__version__ = VERSION
__all__ = [
    "__version__",
    "classify",
    "compare",
    "count",
    "data",
    "doctor",
    "evaluate",
    "explore",
    "export",
    "fleet_status",
    "grid",
    "import_weights",
    "paper",
    "pick",
    "plot_cliffs",
    "plot_mult_adds",
    "plot_pareto",
    "plot_roofline",
    "predict",
    "profile",
    "report",
    "time",
    "train",
]
_ERRORS = ("MnsweepError", "StoreError", "UnavailableError")  # to catch; `__all__` has the functions
_MODULES = dict.fromkeys(_ERRORS, "errors")
_MODULES |= dict.fromkeys(("doctor", "paper", "profile"), "checks")
_MODULES |= dict.fromkeys(("classify", "data", "evaluate", "import_weights"), "networks")
_MODULES |= dict.fromkeys(("compare", "report", "time"), "comparisons")
_MODULES |= {"train": "trainings", "fleet_status": "fleets"}
_MODULES |= {name: "charts" for name in __all__ if name.startswith("plot_")}


def __getattr__(name: str) -> Any:
    if name not in (*__all__, *_ERRORS):
        raise AttributeError(f"module 'mnsweep' has no attribute {name!r}")
    return getattr(import_module(f"mnsweep.{_MODULES.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ERRORS})
