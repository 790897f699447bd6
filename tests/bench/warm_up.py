"""Is what is kept warm? The first kept blocks of a process against its later ones, for each runtime and precision.

Machine and cells are warmed up as in a sweep; blocks that the sweep would mark as cold are left out, as it does.
"""

import time
from collections import defaultdict
from functools import partial
from random import Random

import numpy as np
from scipy.stats import trim_mean

from mnsweep.measure.rounds import Rounds, Rules
from mnsweep.prepare.models import Prepared
from mnsweep.prepare.offers import prepare
from mnsweep.record import Block, Records
from mnsweep.space import Space
from mnsweep.worker.proxy import WorkerProcess
from tests.bench.figure import Figures

PROCESSES, ROUNDS = 12, 6
SPACE = Space(alpha="0.25,0.5,1.0", res="128,224", precision="fp32,int8,bf16", runtime="onnxruntime,openvino", pad="none")
TRIMMED = 0.1  # of each end: blocks that something else disturbed


def first_against_later(blocks: list[Block]) -> float:
    """Log of the first round of one cell in one process over the median of its later rounds; nan if it was cold."""
    by_round: dict[int, list[float]] = defaultdict(list)
    for block in blocks:
        if not block.canary and not block.disturbed:
            by_round[block.round].append(float(np.median(block.samples_ns)))
    later = [np.median(values) for number, values in by_round.items() if number > 1]
    return float(np.log(np.median(by_round[1]) / np.median(later))) if 1 in by_round and later else float("nan")


def main() -> None:
    cells, prepared, new_worker = SPACE.cells(), Prepared(weight_bits=8), partial(WorkerProcess, 60.0)
    prepare(prepared, cells, new_worker)
    cells = tuple(cell for cell in cells if cell.id not in prepared.skipped)
    models = {cell.id: prepared.model_of(cell) for cell in cells}
    slower: dict[str, list[float]] = defaultdict(list)
    cold, taken = 0, 0
    for number in range(PROCESSES):
        records = Records()
        with new_worker() as worker:
            worker.pin(1)
            rounds = Rounds(
                process=number,
                time=worker.time,
                sink=records.add,
                rules=Rules(),
                rng=Random(number),
                clock=time.monotonic,
                canary=cells[len(cells) // 2].id,
            )
            for cell in cells:
                worker.open(cell.id, models[cell.id], cell.deployment)
            rounds.run(list(models), lambda done: list(models) if done < ROUNDS else [])
        for cell in cells:
            its = [block for block in records.blocks if block.cell == cell.id]
            cold += any("cold" in reason for block in its for reason in block.disturbed)
            taken += 1
            slower[f"{cell.deployment.runtime} {cell.deployment.precision}"].append(first_against_later(its))
    figures = Figures()
    for name, values in slower.items():
        known = np.array(values)[~np.isnan(values)]
        error = known.std() / len(known) ** 0.5
        bias = 100 * float(trim_mean(known, TRIMMED))
        figures.report(f"{name}: first kept blocks against later ones (standard error {100 * error:.2f} %)", bias, "%")
        figures.at_most(f"{name}: their bias, beyond two standard errors", max(0.0, abs(bias) - 200 * error), 0.2, "%")
    figures.report("first blocks that were marked as cold", 100 * cold / taken, "%")
    figures.finish()


if __name__ == "__main__":
    main()
