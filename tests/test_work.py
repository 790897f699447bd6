"""Work in the terms of the latency model, against sums over the rows of each network and against closed forms."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnsweep.arch.channel_padding import multiples_of, pad_channels
from mnsweep.arch.cost import layer_mult_adds
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Deployment, Design, parse_cell
from mnsweep.counting import deployed_cost
from mnsweep.prediction.features import work
from mnsweep.prediction.terms import BYTES, MULT_ADDS, RUNS, TERMS, UNITS

ITEM_BYTES = {"fp32": 4, "bf16": 2, "int8": 1}
MULTIPLES = {"fours": 4, "eights": 8, "sixteens": 16}

DESIGNS = st.builds(
    Design.of,
    st.integers(5, 200).map(lambda hundredths: hundredths / 100),
    st.integers(32, 300),
    classes=st.sampled_from([10, 1000, 1001]),
    width_rule=st.sampled_from(["paper", "round8"]),
    conv_padding=st.sampled_from(["same", "keras", "symmetric"]),
)
DEPLOYMENTS = st.builds(
    Deployment,
    st.sampled_from(list(ITEM_BYTES)),
    threads=st.integers(1, 4),
    batch=st.integers(1, 9),
    pad=st.sampled_from(["auto", "none", "16"]),
)
PADDINGS = st.sampled_from([1, 4, 8, 16, 32])  # multiples that every channel count is rounded up to


def of_rows(cell: Cell, channels: dict[int, int]) -> dict[str, float]:
    """What every row does, added up one by one."""
    done = dict.fromkeys(TERMS, 0.0)
    batch, item = cell.deployment.batch, ITEM_BYTES[cell.deployment.precision]
    for layer in pad_channels(expand(cell.design), channels):
        done["maps"] += batch * item * (layer.in_channels * layer.in_size**2 + layer.out_channels * layer.out_size**2)
        if layer.kind == "pool":
            continue
        done[layer.kind] += batch * layer_mult_adds(layer)
        done["weights"] += item * layer.out_channels * (layer.in_channels // layer.groups) * prod(layer.kernel)
        for name, k in MULTIPLES.items():
            if layer.kind in ("depthwise", "pointwise") and (layer.in_channels % k or layer.out_channels % k):
                done[f"{layer.kind} off {name}"] += batch * layer_mult_adds(layer)
    return done | {"constant": 1.0}


@given(DESIGNS, DEPLOYMENTS, PADDINGS)
def test_work_is_the_sum_over_all_rows(design: Design, deployment: Deployment, multiple: int) -> None:
    cell, channels = Cell(design, deployment), multiples_of(multiple, expand(design))
    (row,) = work([cell], [channels])
    assert dict(zip(TERMS, row, strict=True)) == of_rows(cell, channels)


@given(DESIGNS, DEPLOYMENTS, PADDINGS)
def test_mult_adds_by_kind_add_up_to_what_is_counted(design: Design, deployment: Deployment, multiple: int) -> None:
    channels = multiples_of(multiple, expand(design))
    (row,) = work([Cell(design, deployment)], [channels])
    kinds = [row[TERMS.index(kind)] for kind in ("stem", "depthwise", "pointwise", "head")]
    assert sum(kinds) == deployment.batch * deployed_cost(design, channels).mult_adds


@settings(max_examples=30)
@given(st.lists(st.tuples(DESIGNS, DEPLOYMENTS, PADDINGS), min_size=1, max_size=6))
def test_cells_do_not_touch_each_other(drawn: list[tuple[Design, Deployment, int]]) -> None:
    cells = [Cell(design, deployment) for design, deployment, _ in drawn]
    channels = [multiples_of(multiple, expand(design)) for design, _, multiple in drawn]
    together = work(cells, channels)
    assert together.shape == (len(cells), len(TERMS))
    alone = [work([cell], [padding])[0] for cell, padding in zip(cells, channels, strict=True)]
    assert np.array_equal(together, alone)


# The paper's Table 1 at α 1 and 224 px, by hand.
@pytest.mark.parametrize(
    ("term", "amount"),
    [
        ("stem", 3 * 9 * 32 * 112**2),
        ("depthwise", 9 * (32 * 112**2 + 64 * 56**2 + 128 * (56**2 + 28**2) + 256 * (28**2 + 14**2) + 512 * (5 * 14**2 + 7**2)
                           + 1024 * 7**2)),
        ("head", 1024 * 1000),
        ("pointwise off fours", 0), ("pointwise off eights", 0), ("depthwise off sixteens", 0),
        ("constant", 1),
    ],
)  # fmt: skip
def test_the_paper_network_in_closed_form(term: str, amount: int) -> None:
    (row,) = work([parse_cell("a1.0_r224")], [{}])
    assert row[TERMS.index(term)] == amount


def test_what_is_off_a_multiple_is_counted_once_for_each_multiple_it_misses() -> None:
    (row,) = work([parse_cell("a0.25_r128")], [{}])  # 8, 16, 32 … channels: only the first pair is off sixteens
    done = dict(zip(TERMS, row, strict=True))
    assert done["pointwise off fours"] == done["pointwise off eights"] == 0
    assert done["depthwise off sixteens"] == 9 * 8 * 64**2
    assert done["pointwise off sixteens"] == 8 * 16 * 64**2


@given(DESIGNS, st.integers(2, 16))
def test_a_batch_does_its_images_again_and_reads_weights_once(design: Design, batch: int) -> None:
    one, many = work([Cell(design), Cell(design, Deployment(batch=batch))], [{}, {}])
    once = [TERMS.index("weights"), TERMS.index("constant")]
    assert np.array_equal(many[once], one[once])
    assert np.array_equal(np.delete(many, once), batch * np.delete(one, once))


@given(DESIGNS)
def test_threads_and_runtime_change_no_work_and_padding_leaves_none_off(design: Design) -> None:
    cells = [Cell(design), Cell(design, Deployment(threads=4, runtime="openvino"))]
    plain, elsewhere = work(cells, [{}, {}])
    assert np.array_equal(plain, elsewhere)
    (padded,) = work(cells[:1], [multiples_of(16, expand(design))])
    off = [i for i, name in enumerate(TERMS) if " off " in name]
    assert not padded[off].any()
    assert (np.delete(padded, off) >= np.delete(plain, off)).all()


def test_every_term_has_a_unit_of_what_it_is_multiplied_with() -> None:
    assert set(UNITS.values()) == {MULT_ADDS, BYTES, RUNS}
    assert {name for name, unit in UNITS.items() if unit == BYTES} == {"maps", "weights"}
    assert [name for name, unit in UNITS.items() if unit == RUNS] == ["constant"]


def test_no_cells_are_no_work() -> None:
    assert work([], []).shape == (0, len(TERMS))


def test_work_of_one_width_is_not_taken_for_another() -> None:
    designs = [
        Design.of(0.5, 128),
        Design.of(0.5, 128, classes=10),
        Design.of(0.5, 128, conv_padding="keras"),
        Design.of(0.51, 128),
    ]
    cells = [Cell(d, how) for d in designs for how in (Deployment(), Deployment("int8"))]
    cells += [Cell(replace(d, resolution=130)) for d in designs]
    rows = work(cells * 2, [{}] * 2 * len(cells))
    for cell, row in zip(cells * 2, rows, strict=True):
        assert dict(zip(TERMS, row, strict=True)) == of_rows(cell, {})
