"""Padded channels: the same answers on other counts, where a made-up runtime gains by it, at the cost that is counted."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mnsweep.arch.channel_padding import (
    ALIGNMENTS,
    CHAIN_SIZES,
    MARGIN,
    NARROW,
    NARROW_UP_TO,
    WIDE,
    alignment,
    chain,
    from_text,
    gains,
    multiples_of,
    pad_channels,
    padding,
    to_text,
    where_it_pays,
)
from mnsweep.arch.expand import Layer, expand
from mnsweep.cell import Deployment, Design
from mnsweep.counting import cost, deployed_cost
from mnsweep.errors import MnsweepError
from mnsweep.graph.file_size import onnx_bytes
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.quantize import assumed_ranges
from mnsweep.graph.weights import Weights, padded, random_weights
from mnsweep.measure.probe import ROUNDS, probe
from mnsweep.worker import bandwidth
from mnsweep.worker.proxy import CellError, WorkerLostError
from tests.fakes import FakeWorker
from tests.test_build import as_trained, image_of, run_onnx
from tests.test_cost import ALPHAS, designs

PROBED = (*NARROW, *WIDE)


def weights_of(design: Design, trained: bool) -> Weights:
    """Seeded, with batch norm and biases that move every map; or batch norm as far from 1 and 0 as training leaves it."""
    return as_trained(expand(design), 1e-5) if trained else random_weights(expand(design))


@given(designs(st.floats(0.01, 0.5), max_resolution=96), st.integers(2, 64), st.booleans())
@example(Design.of(2.0, 48), 48, False)
@example(Design.of(1.1, 96, activation="relu"), 64, False)
@example(Design.of(0.3, 33, classes=9, conv_padding="keras"), 64, True)  # as many classes as channels in the stem
@settings(max_examples=15)
def test_a_padded_network_gives_the_same_logits(design: Design, k: int, trained: bool) -> None:
    layers, weights, image = expand(design), weights_of(design, trained), image_of(design)
    deployed = pad_channels(layers, multiples_of(k, layers))
    as_it_was = run_onnx(build_onnx(layers, weights), image)
    as_padded = run_onnx(build_onnx(deployed, padded(weights, deployed)), image)
    assert as_padded.shape == (1, design.classes)
    rounding = 1e-2 * max(1.0, abs(as_it_was).max()) if trained else 1e-4  # batch norm of small variance multiplies it
    assert abs(as_padded - as_it_was).max() <= rounding


@given(designs(), st.integers(2, 256))
def test_every_count_is_the_next_multiple_and_the_rows_still_fit_each_other(design: Design, k: int) -> None:
    layers = expand(design)
    deployed = pad_channels(layers, multiples_of(k, layers))
    for row, now in zip(layers[:-1], deployed[:-1], strict=True):
        assert now.out_channels % k == 0 and row.out_channels <= now.out_channels < row.out_channels + k
        assert now.groups == (now.out_channels if row.kind == "depthwise" else 1)
        without_channels = {"in_channels": 0, "out_channels": 0, "groups": 0}
        assert replace(now, **without_channels) == replace(row, **without_channels)  # type: ignore[arg-type]
    assert all(after.in_channels == before.out_channels for before, after in pairwise(deployed))
    assert (deployed[0].in_channels, deployed[-1].out_channels) == (3, design.classes)


def test_padded_weights_are_the_own_ones_and_zeros() -> None:
    layers = expand(Design.of(0.3, 32, classes=10))
    own, deployed = random_weights(layers).arrays, pad_channels(layers, multiples_of(16, layers))
    for name, array in padded(random_weights(layers), deployed).arrays.items():
        np.testing.assert_array_equal(array[tuple(map(slice, own[name].shape))], own[name])
        assert np.count_nonzero(array) == np.count_nonzero(own[name])


Costs = Callable[[int], float]


def table(narrow: Costs, wide: Costs) -> dict[int, float]:
    """What a probe would find of a runtime that takes so many milliseconds for a chain."""
    return {count: narrow(count) for count in NARROW} | {count: wide(count) for count in WIDE}


def blocks_of(k: int, penalty: float = 3.0) -> dict[int, float]:
    """A runtime that takes `penalty` times as long for channels that are no multiple of `k`."""
    return table(*[lambda count: count * (1.0 if count % k == 0 else penalty)] * 2)


@pytest.mark.parametrize("k", [2, 4, 8, 16])
def test_a_runtime_with_blocks_gets_its_multiples(k: int) -> None:
    layers = expand(Design.of(0.3, 32))  # 9, 19, 38, 76, 153, 307 channels
    assert where_it_pays(layers, blocks_of(k)) == multiples_of(k, layers)
    assert where_it_pays(expand(Design.of(0.5, 32)), blocks_of(k)) == {}, "16, 32, 64 … are multiples already"


def test_a_penalty_below_the_cost_of_the_padding_is_borne() -> None:
    """9 channels become 16 for 1.5 times the time: too much; 19 become 24, and 38 become 40, for less than they gain."""
    assert where_it_pays(expand(Design.of(0.3, 32)), blocks_of(8, 1.5)) == {19: 24, 38: 40, 76: 80, 153: 160, 307: 312}


def test_a_wider_layer_must_gain_more_than_the_margin() -> None:
    """38 channels take 1.04, 40 about as little as anything wider, 1.02 and 1: that is not 3 % less."""
    at = {1: 2.0, 2: 1.04, 4: 1.04, 8: 1.02, 16: 1.0, 32: 1.0}
    chain_ms = table(*[lambda count: at[min(count & -count, 32)]] * 2)
    assert where_it_pays(expand(Design.of(0.3, 32)), chain_ms) == {9: 16, 19: 24, 76: 80, 153: 160, 307: 312}


@given(ALPHAS, st.floats(0, 2), st.floats(1e-3, 1e3))
def test_nothing_is_padded_where_alignment_does_not_matter(alpha: float, growth: float, scale: float) -> None:
    layers = expand(Design.of(alpha, 32))
    assert where_it_pays(layers, table(*[lambda count: scale * count**growth] * 2)) == {}


@st.composite
def runtimes(draw: st.DrawFn) -> Costs:
    """Time grows as a power of the count, times a penalty that is less the more the count is aligned."""
    growth, scale = draw(st.floats(0.2, 2)), draw(st.floats(0.1, 10))
    penalties = sorted(draw(st.lists(st.floats(1, 5), min_size=5, max_size=5)), reverse=True)
    penalty = dict(zip(ALIGNMENTS, [*penalties, penalties[-1]], strict=True))  # 32 as 16
    return lambda count: float(scale * count**growth * penalty[min(count & -count, 32)])


@given(runtimes(), runtimes(), ALPHAS)
@settings(max_examples=100)
def test_the_choice_is_the_one_of_a_search_through_all_wider_counts(narrow: Costs, wide: Costs, alpha: float) -> None:
    layers = expand(Design.of(alpha, 32))
    channels = where_it_pays(layers, table(narrow, wide))
    for count in {layer.out_channels for layer in layers[:-1]}:
        cost_of, chosen = narrow if count <= NARROW_UP_TO else wide, channels.get(count, count)
        least = min(map(cost_of, range(count, count + 32)))
        about_as_fast = [c for c in range(count, count + 32) if cost_of(c) <= least * (1 + MARGIN) * (1 - 1e-9)]
        if chosen == count:
            assert cost_of(count) <= least * (1 + MARGIN) ** 2 * (1 + 1e-9)
        else:
            assert cost_of(count) > cost_of(chosen) * (1 + MARGIN) * (1 - 1e-9)
            assert cost_of(chosen) <= least * (1 + MARGIN) * (1 + 1e-9)
            assert chosen <= about_as_fast[0], "no wider than it must be"


@given(st.integers(1, 5000))
def test_alignment_is_the_lowest_bit_up_to_32(count: int) -> None:
    assert alignment(count) == min(count & -count, 32)


def by_work(growth: float, penalty: float = 1.0) -> dict[int, float]:
    """A runtime that takes as long as there are pixels, and is slow beside multiples of 8."""
    pixels = {count: CHAIN_SIZES[NARROW if count in NARROW else WIDE] ** 2 for count in PROBED}
    return {count: pixels[count] * count**growth * (1.0 if count % 8 == 0 else penalty) for count in PROBED}


@given(st.floats(0.3, 2.0), st.integers(2, 256), ALPHAS)
@example(1.0, 128, 0.25)  # narrow layers grow into the range of the wide chain, whose maps are smaller
def test_padding_gains_nothing_where_alignment_does_not_matter(growth: float, k: int, alpha: float) -> None:
    assert not gains(multiples_of(k, expand(Design.of(alpha, 32))), by_work(growth))


@pytest.mark.parametrize(("penalty", "pays"), [(0.99, False), (1.01, True)])
def test_padding_gains_when_it_is_faster_than_the_margin_over_all_layers(penalty: float, pays: bool) -> None:
    """At 1 for a channel the padded layers cost Π after / before, against the penalty that each of them pays unpadded."""
    channels = multiples_of(8, expand(Design.of(0.3, 32)))
    growth = float(np.prod([after / before for before, after in channels.items()])) ** (1 / len(channels))
    assert gains(channels, blocks_of(8, penalty * growth / (1 - MARGIN))) == pays


@pytest.mark.parametrize("k", [8, 16, 64, 256])
def test_padding_to_its_blocks_gains(k: int) -> None:
    layers = expand(Design.of(0.3, 32))
    assert gains(multiples_of(k, layers), by_work(1.0, penalty=100))
    assert not gains(multiples_of(7, layers), by_work(1.0, penalty=100))
    assert not gains({}, by_work(1.0, penalty=100))


def test_padding_is_as_it_is_asked_for() -> None:
    layers, chain_ms = expand(Design.of(0.3, 32)), blocks_of(8)
    assert padding(layers, "none", {}) == {}
    assert padding(layers, "16", {}) == {9: 16, 19: 32, 38: 48, 76: 80, 153: 160, 307: 320}
    assert padding(layers, "auto", chain_ms) == where_it_pays(layers, chain_ms) == multiples_of(8, layers)


@given(st.dictionaries(st.integers(1, 5000), st.integers(1, 255)))
def test_channels_survive_a_trip_through_text(added: Mapping[int, int]) -> None:
    channels = {logical: logical + more for logical, more in added.items()}
    assert from_text(to_text(channels)) == channels


@pytest.mark.parametrize("text", ["8>4", "8>8", "8>-4", "8>0", "0>8", "-8>8", "8>1000000000"])
def test_channels_that_padding_never_makes_are_refused(text: str) -> None:
    with pytest.raises(MnsweepError, match=f"{text} is not one that mnsweep makes"):
        from_text(text)


def test_channels_are_written_in_order() -> None:
    assert to_text({19: 20, 9: 12}) == "9>12 19>20"
    assert to_text({}) == ""


@pytest.mark.parametrize("text", ["9", "9>", ">12", "a>b", "9>12>13", "9 > 12", "9>12,19>20", "9>1.5"])
def test_text_that_says_no_channels_is_refused(text: str) -> None:
    with pytest.raises(MnsweepError, match=f"channel padding '{text}'"):
        from_text(text)


@pytest.mark.parametrize("count", PROBED)
def test_a_chain_is_a_network_of_one_width_that_runs(count: int) -> None:
    rows = chain(count)
    image, size = Design.of(1.0, rows[0].in_size), CHAIN_SIZES[NARROW if count in NARROW else WIDE]
    assert {row.out_channels for row in rows[:-1]} == {count} and {row.out_size for row in rows[:-2]} == {size}
    assert all((a.out_channels, a.out_size) == (b.in_channels, b.in_size) for a, b in pairwise(rows))
    assert all(row.out_size == (row.in_size + row.pads[0] + row.pads[2] - row.kernel[0]) // row.stride + 1 for row in rows)
    assert np.isfinite(run_onnx(build_onnx(rows, random_weights(rows)), image_of(image))).all()


def test_each_alignment_is_probed_in_narrow_and_in_wide_layers() -> None:
    for counts in (NARROW, WIDE):
        assert {min(count & -count, 32) for count in counts} == set(ALIGNMENTS)
    assert max(NARROW) <= NARROW_UP_TO < min(WIDE)


@given(designs(), st.integers(1, 256), st.sampled_from(["fp32", "bf16", "int8"]))
@example(Design.of(1.0, 127), 16, "int8")
@example(Design.of(1.0, 128, activation="relu"), 1, "int8")
@settings(max_examples=80)
def test_the_short_count_is_the_count_of_the_deployed_rows(design: Design, k: int, precision: str) -> None:
    channels = multiples_of(k, expand(design))
    assert deployed_cost(design, channels, precision) == cost(pad_channels(expand(design), channels), precision)


FILES = [
    Design.of(0.25, 64, activation="relu"),
    Design.of(0.3, 127, classes=127),
    Design.of(0.3, 128, classes=128, conv_padding="keras"),
    Design.of(0.35, 224, width_rule="round8"),
    Design.of(0.01, 1024, classes=1),
    Design.of(0.5, 32, classes=20_000),
]


def file_bytes(layers: tuple[Layer, ...], weights: Weights, precision: str) -> int:
    return len(build_onnx(layers, weights, ranges=assumed_ranges(layers) if precision == "int8" else None))


@pytest.mark.parametrize("design", FILES, ids=lambda design: f"{design.alpha}-{design.resolution}-{design.classes}")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_size_of_a_file_is_its_real_length(design: Design, precision: str) -> None:
    layers, weights = expand(design), random_weights(expand(design))
    channels = multiples_of(24, layers)
    deployed = pad_channels(layers, channels)
    real = file_bytes(layers, weights, precision), file_bytes(deployed, padded(weights, deployed), precision)
    assert real[0] < real[1]
    assert (onnx_bytes(layers, precision == "int8"), onnx_bytes(deployed, precision == "int8")) == real
    assert tuple(deployed_cost(design, c, precision).onnx_bytes for c in ({}, channels)) == real


HOW = Deployment("int8", "openvino")


def test_a_probe_gives_the_median_of_each_chain() -> None:
    """Blocks that are disturbed now and then, far up, move no median."""
    taken: list[int] = []

    def chain_ns(count: int) -> int:
        taken.append(count)
        return 1000 * count * (50 if len(taken) % 4 == 0 else 1)

    found = probe(FakeWorker(chain_ns=chain_ns), dict.fromkeys(PROBED, b""), HOW)
    assert found == {count: 1000 * count / 1e6 for count in PROBED}
    assert all(taken.count(count) >= ROUNDS for count in PROBED)


@pytest.mark.parametrize("error", [CellError, WorkerLostError])
def test_a_chain_that_fails_fails_the_probe(error: type[CellError]) -> None:
    def chain_ns(count: int) -> int:
        if count == WIDE[2]:
            raise error("not this one")
        return count

    with pytest.raises(CellError, match="not this one"):
        probe(FakeWorker(chain_ns=chain_ns), dict.fromkeys(PROBED, b""), HOW)


def test_bandwidth_is_what_the_fastest_copy_reads_and_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 4.0, 10.0, 12.0, 20.0, 21.0, 30.0, 32.0, 40.0, 44.0])
    monkeypatch.setattr(bandwidth, "COPY_BYTES", 2**16)
    monkeypatch.setattr("mnsweep.worker.bandwidth.time.perf_counter", lambda: next(clock))
    assert bandwidth.bandwidth(threads=3) == 2 * 3 * 2**16 / 1.0


def test_bandwidth_is_that_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "COPY_BYTES", 2**22)
    assert 1e8 < bandwidth.bandwidth(threads=1) < 1e13


def test_a_probe_times_rounds_not_chain_after_chain() -> None:
    worker = FakeWorker()
    probe(worker, dict.fromkeys(PROBED, b""), HOW)
    order = [int(key.split()[-1]) for key, *_ in worker.arguments_of("time")]
    last = {count: len(order) - order[::-1].index(count) for count in PROBED}
    assert min(last.values()) > len(order) * 0.8
