"""The speed of the machine around each block, on made-up noise of known memory."""

import numpy as np
import pytest

from mnsweep.estimate.fit import fit
from mnsweep.estimate.local_speed import REACHES_S, Array, Kernel, choose_kernel, middle_s
from mnsweep.record import Block

BLOCKS = 160
AT_S: Array = np.linspace(0, 4, BLOCKS, endpoint=False)


def remembering(memory_s: float, seed: int = 0) -> Array:
    """(blocks,): noise of a spread of 3 % whose autocorrelation falls off with a memory of so many seconds."""
    rng = np.random.default_rng(seed)
    distance = np.abs(AT_S[:, None] - AT_S)
    covariance = np.exp(-distance / memory_s) if memory_s else np.eye(BLOCKS)
    return np.asarray(0.03 * np.linalg.cholesky(covariance + 1e-9 * np.eye(BLOCKS)) @ rng.normal(size=BLOCKS))


def test_noise_without_memory_is_left_alone() -> None:
    assert choose_kernel([(remembering(0, seed), AT_S) for seed in range(5)]) is None


@pytest.mark.parametrize("memory_s", [0.1, 0.3, 1.0])
def test_noise_with_a_memory_is_predicted_from_its_neighbours(memory_s: float) -> None:
    processes = [(remembering(memory_s, seed), AT_S) for seed in range(5)]
    kernel = choose_kernel(processes)
    assert kernel is not None and min(REACHES_S) <= kernel.reach_s <= max(REACHES_S)
    left = np.concatenate([noise - kernel.speed((noise, at_s)) for noise, at_s in processes])
    assert left.std() < 0.8 * np.concatenate([noise for noise, _ in processes]).std()


def test_a_block_does_not_predict_itself_and_a_spike_no_neighbour() -> None:
    noise: Array = np.full(9, 0.001)
    noise[4] = 1.0
    speed = Kernel(0.03, 0.1).speed((noise, AT_S[:9]))
    assert speed[4] < 0.01 and max(speed) < 0.01


def test_a_long_process_is_taken_in_parts_and_nothing_at_all_is_no_kernel() -> None:
    noise: Array = np.tile(remembering(0.3), 10)
    at_s: Array = np.linspace(0, 40, 10 * BLOCKS)
    assert Kernel(0.1, 0.3).speed((noise, at_s)).shape == (10 * BLOCKS,)
    assert choose_kernel([]) is None and choose_kernel([(np.zeros(0), np.zeros(0))]) is None
    assert choose_kernel([(np.zeros(5), np.zeros(5))]) is None


def test_the_middle_of_a_block_is_between_its_ends() -> None:
    block = Block(cell="a", process=1, round=1, at_s=2.0, first_ns=10**9, samples_ns=(10**9, 2 * 10**9))
    assert middle_s([block]).tolist() == [4.0]


def test_estimates_are_closer_to_the_truth_where_noise_has_a_memory() -> None:
    """Against the same blocks at shuffled times, where neighbours tell nothing."""

    def error(shuffled: bool) -> float:
        rng, errors = np.random.default_rng(3), []
        for seed in range(20):
            noise, at_s = remembering(0.3, seed), rng.permutation(AT_S) if shuffled else AT_S
            order = [int(cell) for _ in range(BLOCKS // 8) for cell in rng.permutation(8)]
            blocks = [
                Block(cell=f"c{cell}", process=1, round=1 + i // 8, at_s=float(at_s[i]), first_ns=1, samples_ns=(ns,))
                for i, cell in enumerate(order)
                for ns in [round(1e6 * (1 + cell) * np.exp(noise[i]))]
            ]
            found = fit(blocks).estimates
            logs = np.log([found[f"c{cell}"].p50_ms / (1 + cell) for cell in range(8)])
            errors.append(np.std(logs))
        return float(np.mean(errors))

    assert error(shuffled=False) < 0.85 * error(shuffled=True)
