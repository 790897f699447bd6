"""One training for several resolutions against one for each: accuracies and time.

python -m tests.bench.share DATA [ALPHA] [RESOLUTIONS] [SETTINGS]
"""

import sys
import tempfile
from pathlib import Path

import mnsweep
from tests.bench.figure import Figures


def main(data: str, alpha: str = "0.25", res: str = "48,64,96", settings: str = "epochs=10") -> None:
    """See the module."""
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        place = {"set": settings, "results_dir": Path(folder)}
        alone = mnsweep.train(data, "alone", alpha, res, **place).set_index("cell")
        shared = mnsweep.train(data, "shared", alpha, res, share_resolutions=True, **place).set_index("cell")
    for cell in alone.index:
        pair = float(alone["top1_pct"][cell]), float(shared["top1_pct"][cell])
        figures.report(f"{cell}: shared, against {pair[0]:.2f} % alone", pair[1], "%")
    figures.at_most("time, shared over alone", float(shared["seconds"].sum() / alone["seconds"].sum()), 0.8, "×")
    figures.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
