"""A scheduler and workers on this machine, to try a cluster: real processes, in clear on the loopback interface only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mnsweep.fleet.cluster import MEASURE, TRAIN
from mnsweep.fleet.tasks import CPUS, dask, own_cpus

LOOPBACK = "127.0.0.1"
QUIET = "DASK_LOGGING__DISTRIBUTED"  # a setting of Dask


@contextmanager
def local_cluster(workers: int) -> Iterator[str]:
    """The address of a scheduler with that many workers, each of which has its share of the CPUs for trainings."""
    os.environ.setdefault(QUIET, "error")
    distributed = dask()
    cpus = own_cpus().split(",")
    share = max(1, len(cpus) // workers)

    def worker(number: int) -> dict[str, object]:
        first = number * share % len(cpus)
        own = ",".join(cpus[first : first + share])
        options = {
            "name": f"worker-{number + 1}",
            "nthreads": 1,
            "resources": {MEASURE: 1, TRAIN: 1},
            "env": {CPUS: own, QUIET: "error"},
            "host": LOOPBACK,
            "dashboard": False,
            "memory_limit": 0,
        }
        return {"cls": distributed.Nanny, "options": options}

    scheduler = {"cls": distributed.Scheduler, "options": {"host": LOOPBACK, "port": 0, "dashboard": False}}
    with distributed.SpecCluster(
        workers={number: worker(number) for number in range(workers)}, scheduler=scheduler, silence_logs="ERROR"
    ) as cluster:
        yield str(cluster.scheduler_address)
