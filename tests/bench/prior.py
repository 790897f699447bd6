"""Write the package's prior for the latency model from the committed reference runs.

    python -m tests.bench.prior [NAME]

Each run and deployment with enough measured cells is one row of `mnsweep/prediction/data/priors.csv`: its source, and what
the fit without a prior costs each term. Rows of another name stay, because sweeps name the prior that they were fitted with.
Nothing is timed. Runs that were measured again since are in the repository's history: `git checkout 2188c1e -- results`.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from mnsweep.machine.fingerprint import Machine
from mnsweep.prediction.deployments import fit_models
from mnsweep.prediction.prior_table import CURRENT
from mnsweep.prediction.terms import TERMS
from mnsweep.record import Records
from mnsweep.sweep.derive import read
from mnsweep.sweep.store import SweepFolder

ROOT = Path(__file__).parents[2]
RUNS = (  # of several resolutions (`cliffs` has one, which does not tell terms apart), known to ± 6 % (`paper-tables`: ± 13 %)
    "explore/amd-epyc-2c-156cc3b9",
    "deploy/amd-epyc-2c-156cc3b9",
    "paper/amd-epyc-2c-01531358",
)
TABLE = ROOT / "mnsweep/prediction/data/priors.csv"
SOURCE = ("prior", "run", "machine", "instruction_sets", "version", "precision", "runtime", "threads", "batch", "pad", "cells")


def rows(name: str) -> Iterator[dict[str, str]]:
    """One row for each run and deployment that a model can be fitted to."""
    for run in RUNS:
        if not (path := ROOT / "results/reference" / run).is_dir():
            continue
        folder = SweepFolder(path)
        known, machine = read(folder), folder.read_machine()
        for deployment, model in fit_models(known.sweep.cells, known.latency_ms, known.channels).items():
            source = (
                name,
                run,
                machine.key,
                _instruction_sets(machine),
                _version(known.records, deployment.runtime),
                *(str(getattr(deployment, key)) for key in SOURCE[5:10]),
                str(len(model.cells)),
            )
            coefficients = (f"{ns:.6g}" for ns in model.fit.ns)
            yield dict(zip((*SOURCE, *TERMS), (*source, *coefficients), strict=True))


def _instruction_sets(machine: Machine) -> str:
    return str(machine.checked["instruction_sets"]).replace(",", "")


def _version(records: Records, runtime: str) -> str:
    return next(str(p.settings[runtime]) for p in records.processes if runtime in p.settings)


def write(name: str) -> None:
    with TABLE.open(newline="", encoding="utf-8") as file:
        kept = [row for row in csv.DictReader(file) if row["prior"] != name]
    content = [*kept, *rows(name)]
    if gone := [run for run in RUNS if not any(row["run"] == run for row in content)]:
        sys.exit(f"{', '.join(gone)}: not in results/reference; see the first lines of this file")
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, (*SOURCE, *TERMS), lineterminator="\n")
        writer.writeheader()
        writer.writerows(content)
    print(f"{len(content)} rows in {TABLE.relative_to(ROOT)}")


if __name__ == "__main__":
    write(*(sys.argv[1:] or [CURRENT]))
