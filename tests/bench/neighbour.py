"""A noisy neighbour: takes a CPU in bursts of up to two seconds, about a third of the time. Argument: a seed."""

import sys
import time
from random import Random


def main(seed: int) -> None:
    rng = Random(seed)
    while True:
        time.sleep(rng.uniform(0.5, 4.0))
        end = time.perf_counter() + rng.uniform(0.2, 2.0)
        while time.perf_counter() < end:
            pass


if __name__ == "__main__":
    main(int(sys.argv[1]))
