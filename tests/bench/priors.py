"""Write `mnsweep/prediction/priors.csv`: the coefficients of the latency models of the committed explorations."""

import csv
import io
import json
from pathlib import Path

from mnsweep.prediction import prior
from mnsweep.prediction.features import TERMS, UNITS

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
TARGET = Path(prior.__file__).with_name(prior.FILE)


def content(reference: Path = REFERENCE) -> str:
    """One row for each machine, deployment on one thread, and term."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["machine", "runtime", "precision", "term", "ns", "unit", "source"])
    for path in sorted(reference.glob("*/*/model.json")):
        for model in json.loads(path.read_text())["models"]:
            deployment = model["deployment"]
            if (deployment["threads"], deployment["batch"]) != (1, 1):
                continue
            for term, ns in zip(TERMS, model["fit"]["ns"], strict=True):
                source = f"results/reference/{path.parent.relative_to(reference)}"
                about = path.parent.name, deployment["runtime"], deployment["precision"]
                table.writerow([*about, term, f"{ns:.6g}", UNITS[term], source])
    return text.getvalue()


if __name__ == "__main__":
    TARGET.write_text(content())
    print(f"wrote {TARGET}")
