"""Models against each other in one interleaved run, by our own worker."""

from collections.abc import Mapping
from random import Random

from mnsweep.cell import Deployment
from mnsweep.estimate.fit import Estimate, fit
from mnsweep.record import Block
from mnsweep.worker.proxy import WorkerProcess

ONE_THREAD = Deployment()


def interleaved(models: Mapping[str, tuple[bytes, Deployment]], rounds: int = 60, processes: int = 2) -> dict[str, Estimate]:
    """An estimate for each model, timed in rounds of random order in a few processes."""
    rng, blocks = Random(0), []
    for process in range(1, processes + 1):
        with WorkerProcess() as worker:
            worker.pin(max(how.threads for _, how in models.values()))
            for name, (model, how) in models.items():
                worker.open(name, model, how)
                worker.time(name, 3, 250)
            for number in range(rounds):
                for name in rng.sample(sorted(models), len(models)):
                    timing = worker.time(name, 5, 20)
                    blocks.append(
                        Block(
                            cell=name,
                            process=process,
                            round=number,
                            at_s=0.0,
                            first_ns=timing.first_ns,
                            samples_ns=timing.samples_ns,
                            disturbed=timing.disturbed,
                        )
                    )
    return dict(fit(blocks).estimates)
