"""`results/reference/applications.png`: quality against latency of six applications, from their reference runs.

python -m tests.bench.applications; nothing is measured.
"""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import mnsweep
from mnsweep.accuracy.metrics import metric_of
from mnsweep.frames import frame_of
from mnsweep.plots.figure import own_style
from mnsweep.sweep.cells_file import from_csv

ROOT = Path(__file__).parents[2] / "results" / "reference"
PANELS = {
    "glyphs": "Classes: which of 16 letters",
    "noisy-glyphs": "Fine-grained: noisy labels first",
    "places": "Geolocation: where was it taken",
    "faces": "Attributes: 8 at once",
    "identities": "Embedding: the same person?",
    "scenes": "Detection (SSD): what is where",
}


def main() -> None:
    """Draw the six frontiers."""
    with own_style():
        figure = Figure(figsize=(16.5, 8.6), dpi=100)
        FigureCanvasAgg(figure)
        machines: dict[str, str] = {}
        for place, (name, title) in enumerate(PANELS.items()):
            (cells,) = (ROOT / name).glob("*/cells.csv")
            results = from_csv(cells.read_text(), cells)
            axes = figure.add_axes((0.04 + 0.33 * (place % 3), 0.57 - 0.475 * (place // 3), 0.205, 0.36))
            mnsweep.plot_pareto(frame_of(results, {"sweep": name, "machine": cells.parent.name, "results_dir": None}), axes)
            axes.set_ylabel(f"{metric_of(results).short} (%)")
            machines[name] = cells.parent.name
            axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        first, *others = dict.fromkeys(machines.values())
        said = "Generated data; qualities of the deployed files; latencies of one thread with 95 % intervals"
        figure.text(0.04, 0.012, f"{said}, on {first} (letters) and {', '.join(others)}.", fontsize=8, color="#444444")
        figure.savefig(ROOT / "applications.png", metadata={"Software": None})
    print(ROOT / "applications.png")


if __name__ == "__main__":
    main()
