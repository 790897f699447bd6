"""The accuracy surface against published numbers, and against a fit written down another way."""

from operator import ge, le

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import least_squares

from mnsweep.accuracy.published import anchors, published
from mnsweep.accuracy.surface import EXTRAPOLATED, Surface, quality_of, surface
from mnsweep.cell import Cell, Deployment, Design, parse_cell
from mnsweep.errors import MnsweepError

SLIM = "slim-2018-08"
KNOWN = [(SLIM, "fp32"), (SLIM, "int8")]


def fitted(source: str, precision: str) -> Surface:
    fit = surface(source, precision)
    assert fit is not None
    return fit


def table(source: str, precision: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """α, resolution and quality of every anchor."""
    found = anchors(source, precision)
    a, r = np.array(list(found)).T
    return a, r, np.array([q.quality_pct for q in found.values()])


def leave_one_out(source: str, precision: str) -> np.ndarray:
    """Errors in points, by an iterative solver on each set of all anchors but one."""
    alphas, resolutions, quality = table(source, precision)
    a, r = np.log2(alphas), np.log2(resolutions)  # another basis of the same surface
    rows = np.stack([a**i * r**j for i, j in ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))], axis=1)
    rows = rows / np.abs(rows).max(axis=0)
    logits, slope = np.log(quality / (100 - quality)), quality * (100 - quality) / 100
    errors = []
    for i in range(len(quality)):
        kept = np.arange(len(quality)) != i
        start = np.linalg.lstsq(rows[kept], logits[kept])[0]

        def misfit(c: np.ndarray, kept: np.ndarray = kept) -> np.ndarray:
            return slope[kept] * (rows[kept] @ c - logits[kept])  # type: ignore[no-any-return]

        c = least_squares(misfit, start, xtol=1e-15, ftol=1e-15, gtol=1e-15).x
        errors.append(100 / (1 + np.exp(-rows[i] @ c)) - quality[i])
    return np.array(errors)


def test_anchors_are_predicted_from_the_others_within_the_promised_error() -> None:
    errors = np.abs(leave_one_out(SLIM, "fp32"))
    assert len(errors) == 16
    assert errors.mean() <= 0.25 and errors.max() <= 0.6
    fit = fitted(SLIM, "fp32")
    assert (fit.loo_mean, fit.loo_worst) == pytest.approx((errors.mean(), errors.max()), abs=1e-6)


@pytest.mark.parametrize(("source", "precision"), KNOWN)
def test_left_out_errors_are_those_of_fits_without_the_anchor(source: str, precision: str) -> None:
    assert fitted(source, precision).left_out == pytest.approx(leave_one_out(source, precision), abs=1e-5)


@pytest.mark.parametrize(("source", "precision"), KNOWN)
def test_a_published_cell_keeps_its_number_and_the_fit_is_not_forced_through_it(source: str, precision: str) -> None:
    fit, off = fitted(source, precision), []
    for (alpha, resolution), anchor in anchors(source, precision).items():
        cell = Cell(Design.of(alpha, resolution), Deployment(precision))
        assert quality_of(cell, source) == (anchor, None)
        assert quality_of(cell, source, extrapolate=True) == (anchor, None)
        assert not anchor.predicted and anchor.provenance.startswith("published")
        off.append(abs(fit.predict(alpha, resolution)[0] - anchor.quality_pct))
    assert max(off) > 0.01
    assert max(off) <= fit.loo_worst


@pytest.mark.parametrize(("source", "precision"), KNOWN)
def test_the_deviation_covers_what_was_left_out(source: str, precision: str) -> None:
    fit = fitted(source, precision)
    deviations = np.array([fit.predict(alpha, res)[1] for alpha, res in anchors(source, precision)])
    assert (deviations >= np.sqrt(np.mean(np.array(fit.left_out) ** 2))).all(), "the scatter of the anchors is in it"
    assert np.mean(np.abs(fit.left_out) <= 2 * deviations) >= 0.85


INSIDE = st.tuples(st.floats(0.25, 1.0), st.integers(128, 224))


@given(INSIDE)
def test_a_prediction_says_so_and_lies_between_what_is_published_around_it(place: tuple[float, int]) -> None:
    alpha, resolution = place
    cell = Cell(Design.of(alpha, resolution))
    assume(published(cell) is None)
    found = quality_of(cell, SLIM)
    assert found
    quality, deviation = found
    assert quality.predicted and quality.provenance == f"predicted: {SLIM}"
    assert (quality.metric, quality.top5_pct, quality.precision) == ("imagenet_top1", None, "fp32")
    assert deviation is not None and 0 < deviation < 1
    steps = ((alpha, (0.25, 0.5, 0.75, 1.0)), (resolution, (128, 160, 192, 224)))
    low, high = (tuple(end([x for x in axis if inside(x, at)]) for at, axis in steps) for end, inside in ((max, le), (min, ge)))
    around = [anchors(SLIM, "fp32")[float(a), int(r)].quality_pct for a, r in (low, high)]
    assert min(around) - 3 * deviation <= quality.quality_pct <= max(around) + 3 * deviation


@given(INSIDE, INSIDE)
def test_a_network_that_is_wider_and_sees_more_is_predicted_better(one: tuple[float, int], other: tuple[float, int]) -> None:
    fit, (small, large) = fitted(SLIM, "fp32"), ((min(axis), max(axis)) for axis in zip(one, other, strict=True))
    assume((one[0] - other[0]) * (one[1] - other[1]) >= 0)
    assert fit.predict(small[0], int(large[0]))[0] <= fit.predict(small[1], int(large[1]))[0] + 1e-9


@pytest.mark.parametrize(("inside", "outside"), [((1.0, 200), (1.0 + 1e-9, 200)), ((0.25, 200), (0.25 - 1e-9, 200))])
def test_the_deviation_is_three_times_as_wide_just_outside(inside: tuple[float, int], outside: tuple[float, int]) -> None:
    fit = fitted(SLIM, "fp32")
    (quality, deviation), (beyond, wider) = fit.predict(*inside), fit.predict(*outside)
    assert beyond == pytest.approx(quality, abs=1e-6)
    assert wider == pytest.approx(3 * deviation, rel=1e-6)


@pytest.mark.parametrize("cell", ["a1.01_r224", "a0.24_r128", "a0.5_r225", "a0.5_r127", "a1.5_r320"])
def test_beyond_the_source_nothing_is_predicted_unless_asked_and_then_it_says_so(cell: str) -> None:
    assert quality_of(parse_cell(cell), SLIM) is None
    found = quality_of(parse_cell(cell), SLIM, extrapolate=True)
    assert found is not None
    quality, deviation = found
    assert quality.provenance == f"predicted: {SLIM}, {EXTRAPOLATED}"
    assert deviation is not None and deviation > 3 * fitted(SLIM, "fp32").loo_mean


@pytest.mark.parametrize("cell", ["a0.33_r200_c1001", "a0.33_r200_keras", "a0.33_r200_relu"])
def test_another_network_has_no_accuracy(cell: str) -> None:
    assert quality_of(parse_cell(cell), SLIM, extrapolate=True) is None


def test_each_precision_has_its_own_family_and_bf16_inherits() -> None:
    fp32, int8, bf16 = (quality_of(parse_cell(f"a0.33_r200{end}"), SLIM) for end in ("", "_int8", "_bf16"))
    assert fp32 and int8 and bf16
    assert int8[0].quality_pct == fitted(SLIM, "int8").predict(0.33, 200)[0] < fp32[0].quality_pct
    assert (bf16[0].quality_pct, bf16[1]) == (fp32[0].quality_pct, fp32[1])
    assert (int8[0].precision, bf16[0].precision) == ("int8", "bf16")


def test_too_few_anchors_are_no_surface_and_an_unknown_source_is_refused() -> None:
    assert surface("paper", "int8") is None
    assert quality_of(parse_cell("a0.33_r200_int8"), "paper") is None
    with pytest.raises(MnsweepError, match="'nowhere' is unknown"):
        surface("nowhere", "fp32")
