"""Deployments that gain nothing are told so, with the reason, and no others are."""

import pytest

from mnsweep.machine.fingerprint import INSTRUCTION_SETS, Machine
from mnsweep.result import UNPADDED, Result
from mnsweep.sweep.no_gain import with_warnings
from tests.conftest import make_result

VNNI = Machine({"instruction_sets": "AVX2, AVX-512, AVX-512 VNNI"}, {})
AVX2 = Machine({"instruction_sets": "AVX2"}, {})
NO_DOT_PRODUCTS = "this CPU has no 8-bit dot products"
COUNTS = "unaligned channel counts"
SMALL = "in a network this small"


def timed(cell: str, ms: float | None, ci_pct: float | None = 1.0, **columns: object) -> Result:
    return make_result(cell, latency_p50_ms=ms, relative_ci_pct=ci_pct, **columns)


def warnings(*results: Result, machine: Machine = VNNI) -> dict[str, str]:
    found = with_warnings(results, machine)
    assert [r.cell for r in found] == [r.cell for r in results]
    return {r.cell: r.warning for r in found if r.warning}


@pytest.mark.parametrize(
    ("pad", "channels", "machine", "reason"),
    [
        ("_pnone", UNPADDED, AVX2, NO_DOT_PRODUCTS),
        ("", UNPADDED, AVX2, NO_DOT_PRODUCTS),
        ("_pnone", UNPADDED, VNNI, COUNTS),
        ("_p16", "9>16 19>32", VNNI, SMALL),
        ("", "9>12", VNNI, SMALL),
        ("", UNPADDED, VNNI, SMALL),
    ],
)
def test_int8_that_is_slower_than_fp32_is_told_why(pad: str, channels: str, machine: Machine, reason: str) -> None:
    plain, quantized = f"a0.3_r128{pad}", f"a0.3_r128_int8{pad}"
    found = warnings(timed(plain, 2.0), timed(quantized, 3.0, deployed_channels=channels), machine=machine)
    assert set(found) == {quantized}
    assert found[quantized].startswith(f"int8 takes 1.50 × as long as fp32: {reason}")


def test_channel_counts_are_blamed_only_where_they_are_uneven() -> None:
    """At α = 1 every count is a whole multiple of 32: no padding would help."""
    found = warnings(timed("a1.0_r32_pnone", 2.0), timed("a1.0_r32_int8_pnone", 3.0, deployed_channels=UNPADDED))
    assert COUNTS not in found["a1.0_r32_int8_pnone"]


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
def test_a_cpu_with_dot_products_is_never_told_that_it_has_none(name: str) -> None:
    found = warnings(timed("a0.3_r128", 2.0), timed("a0.3_r128_int8", 3.0), machine=Machine({"instruction_sets": name}, {}))
    with_them = {"AVX-512 VNNI", "AVX VNNI", "AMX", "NEON dot product"}
    assert (NO_DOT_PRODUCTS in found["a0.3_r128_int8"]) == (name not in with_them)


@pytest.mark.parametrize(
    ("plain", "quantized"),
    [
        (("a0.3_r128", 2.0, 1.0), ("a0.3_r128_int8", 1.0, 1.0)),
        (("a0.3_r128", 2.0, 1.0), ("a0.3_r128_int8", 2.03, 1.0)),  # 1.5 % apart, ± 2 % together
        (("a0.3_r128", 2.0, 3.0), ("a0.3_r128_int8", 2.05, None)),
        (("a0.3_r128", None, None), ("a0.3_r128_int8", 3.0, 1.0)),
        (("a0.3_r128", 2.0, 1.0), ("a0.3_r128_int8", None, None)),
        (("a0.3_r160", 2.0, 1.0), ("a0.3_r128_int8", 3.0, 1.0)),
        (("a0.3_r128_c10", 2.0, 1.0), ("a0.3_r128_int8", 3.0, 1.0)),
        (("a0.3_r128_t2", 2.0, 1.0), ("a0.3_r128_int8", 3.0, 1.0)),
        (("a0.3_r128_b2", 2.0, 1.0), ("a0.3_r128_int8", 3.0, 1.0)),
        (("a0.3_r128_openvino", 2.0, 1.0), ("a0.3_r128_int8", 3.0, 1.0)),
        (("a0.3_r128_pnone", 2.0, 1.0), ("a0.3_r128_int8", 3.0, 1.0)),
        (("a0.3_r128_bf16", 2.0, 1.0), ("a0.3_r128_int8", 3.0, 1.0)),
        (("a0.3_r128_int8", 2.0, 1.0), ("a0.3_r128", 3.0, 1.0)),
    ],
)
def test_no_warning_within_the_intervals_or_without_a_twin(
    plain: tuple[str, float | None, float | None], quantized: tuple[str, float | None, float | None]
) -> None:
    assert warnings(timed(*plain), timed(*quantized)) == {}


def test_beyond_the_intervals_there_is_one() -> None:
    assert set(warnings(timed("a0.3_r128", 2.0), timed("a0.3_r128_int8", 2.05))) == {"a0.3_r128_int8"}
    assert set(warnings(timed("a0.3_r128", 2.0, None), timed("a0.3_r128_int8", 2.01, None))) == {"a0.3_r128_int8"}


@pytest.mark.parametrize("precision", ["", "_int8", "_openvino"])
@pytest.mark.parametrize("pad", ["", "_p16"])
def test_padding_that_is_slower_than_none_is_said(precision: str, pad: str) -> None:
    padded, none = f"a0.3_r128{precision}{pad}", f"a0.3_r128{precision}_pnone"
    found = warnings(timed(padded, 2.4, deployed_channels="9>16"), timed(none, 2.0), timed("a0.3_r128_t2_pnone", 1.0))
    assert found == {padded: "padding takes 1.20 × as long as none"}


def test_padding_that_gains_or_is_within_the_intervals_is_not() -> None:
    assert warnings(timed("a0.3_r128", 1.9), timed("a0.3_r128_p16", 2.03), timed("a0.3_r128_pnone", 2.0)) == {}


def test_padding_that_came_to_nothing_is_not_blamed() -> None:
    """Both are the same file: what moved was the machine."""
    assert warnings(timed("a0.5_r128", 2.4, deployed_channels=UNPADDED), timed("a0.5_r128_pnone", 2.0)) == {}


def test_both_reasons_stand_side_by_side() -> None:
    found = warnings(
        timed("a0.3_r128_p16", 1.0),
        timed("a0.3_r128_int8_p16", 3.0, deployed_channels="9>16"),
        timed("a0.3_r128_int8_pnone", 2.0),
    )
    assert found["a0.3_r128_int8_p16"].split("; ") == [
        f"int8 takes 3.00 × as long as fp32: {SMALL}, quantizing and changing layouts costs more than the arithmetic saves",
        "padding takes 1.50 × as long as none",
    ]


def test_a_warning_of_an_earlier_time_is_taken_back() -> None:
    assert warnings(timed("a0.3_r128_int8", 3.0, warning="an old one")) == {}


def test_bf16_is_held_against_nothing() -> None:
    assert warnings(timed("a0.3_r128", 2.0), timed("a0.3_r128_bf16", 3.0)) == {}
