"""Metrics of the tasks against independent oracles: scikit-learn, brute force, and pycocotools on its own files."""

import io
import json
import math
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import average_precision_score, roc_curve

from mnsweep.accuracy.average_precision import average_precision, mean_average_precision
from mnsweep.accuracy.detections import detection_score
from mnsweep.accuracy.great_circle import RADIUS_KM, great_circle_km, shares_within
from mnsweep.accuracy.verification import pairs_of, squared_distances, threshold_at, true_accepts

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.integers(1, 60), st.integers(1, 8), st.floats(0, 1))
def test_average_precision_is_scikit_learns(seed: int, count: int, levels: int, share: float) -> None:
    """Also with equal scores, with one true picture, and with all of them true."""
    rng = np.random.default_rng(seed)
    truths = (rng.random(count) < share).astype(float)
    scores = rng.integers(0, levels, count) / levels if levels < 8 else rng.random(count)
    if not truths.any():
        assert math.isnan(average_precision(truths, scores))
        return
    assert average_precision(truths, scores) == pytest.approx(average_precision_score(truths, scores), abs=1e-12)
    unknown = rng.random(count) < 0.3
    if truths[~unknown].any():
        partly = np.where(unknown, np.nan, truths)
        known = average_precision_score(truths[~unknown], scores[~unknown])
        assert average_precision(partly, scores) == pytest.approx(known, abs=1e-12)


def test_an_attribute_that_no_picture_has_does_not_count() -> None:
    truths = np.array([[1.0, 0, np.nan], [0, 0, np.nan], [1, 0, np.nan]])
    mean, each = mean_average_precision(truths, np.array([[0.9, 1, 1], [0.1, 1, 1], [0.8, 1, 1]]))
    assert mean == each[0] == 1.0 and np.isnan(each[1:]).all()
    assert np.isnan(mean_average_precision(truths[:, 1:], np.ones((3, 2)))[0])


@given(SEEDS, st.integers(2, 12), st.integers(1, 4), st.booleans())
def test_true_accepts_are_the_best_of_all_thresholds(seed: int, count: int, identities: int, rounded: bool) -> None:
    """Brute force: no threshold accepts more equal pairs without too many different ones; scikit-learn's curve agrees."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 3))
    vectors = np.round(vectors) if rounded else vectors
    pairs, same = pairs_of(rng.integers(0, identities, count))
    distances = squared_distances(vectors, pairs)
    direct = ((vectors[pairs[:, 0]] - vectors[pairs[:, 1]]) ** 2).sum(1)
    np.testing.assert_allclose(distances, direct, atol=1e-9)
    if not same.any() or same.all():
        return
    of_same, of_different = direct[same], direct[~same]
    false, true, _ = roc_curve(same, -direct, drop_intermediate=False)
    for rate in (0.0, 0.1, 0.34, 1.0):
        cuts = [*direct, math.inf, -1.0]
        best = max((of_same <= cut).mean() for cut in cuts if (of_different <= cut).mean() <= rate + 1e-12)
        found = true_accepts(of_same, of_different, [rate])[0]
        assert found == pytest.approx(best) == pytest.approx(true[false <= rate + 1e-12].max())
        assert (of_different < threshold_at(of_different, rate)).mean() <= rate + 1e-12


def haversine(a: tuple[float, float], b: tuple[float, float]) -> float:
    """The angle between two unit vectors, by atan2 of their cross and dot product, times the radius."""
    points = []
    for latitude, longitude in (a, b):
        lat, lon = math.radians(latitude), math.radians(longitude)
        points.append((math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)))
    first, second = map(np.array, points)
    cross = np.cross(first, second)
    return RADIUS_KM * math.atan2(float(np.sqrt((cross**2).sum())), float(first @ second))


PLACES = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@given(PLACES, PLACES)
def test_great_circles_are_the_angles_between_vectors(a: tuple[float, float], b: tuple[float, float]) -> None:
    found = float(great_circle_km(np.array([a]), np.array([b]))[0])
    assert found == pytest.approx(haversine(a, b), rel=1e-6, abs=2e-1)  # near the antipode both lose digits
    assert float(great_circle_km(np.array([a]), np.array([a]))[0]) == 0


def test_a_quarter_of_the_globe_and_the_papers_five_distances() -> None:
    assert float(great_circle_km(np.array([[0.0, 0.0]]), np.array([[0.0, 90.0]]))[0]) == pytest.approx(RADIUS_KM * math.pi / 2)
    shares = shares_within(np.array([0.5, 1.0, 25.0, 100, 700, 2000, 9000]))
    assert [round(7 * share / 100) for share in shares.values()] == [2, 3, 4, 5, 6]


def scene(rng: np.random.Generator, pictures: int, most: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random boxes, detections that are some of them moved, and sizes of pictures."""

    def boxes(count: int) -> np.ndarray:
        low = rng.uniform(0, 0.7, (count, 2))
        return np.concatenate([low, low + rng.uniform(0.02, 0.3, (count, 2))], 1)

    truths, found = np.zeros((pictures, most, 6)), np.zeros((pictures, 100, 6))
    for picture in range(pictures):
        count = int(rng.integers(0, most + 1))
        own = boxes(count)
        labels = rng.integers(1, classes, count)
        truths[picture, :count] = np.column_stack([own, labels, rng.random(count) < 0.15])
        moved = np.clip(own + rng.normal(0, 0.02, own.shape), 0, 1)
        wrong = boxes(int(rng.integers(0, 4)))
        every = np.concatenate([moved, wrong])
        numbers = np.concatenate([np.where(rng.random(count) < 0.8, labels, 1), rng.integers(1, classes, len(wrong))])
        scores = np.round(rng.random(len(every)), 1) + 0.01
        found[picture, : len(every)] = np.column_stack([every, scores, numbers])
    return truths, found, rng.integers(40, 600, (pictures, 2))


def coco_on_files(truths: np.ndarray, found: np.ndarray, sizes: np.ndarray, classes: int, folder: Path) -> np.ndarray:
    """The twelve numbers of pycocotools' own summary, from JSON files, with its default settings."""
    annotations: list[dict[str, object]] = []
    results: list[dict[str, object]] = []
    for picture, (height, width) in enumerate(sizes.tolist()):
        scale = np.array([width, height, width, height])
        for row in truths[picture][truths[picture, :, 4] > 0]:
            left, top, right, bottom = row[[1, 0, 3, 2]] * scale
            box = [left, top, right - left, bottom - top]
            about = {"id": len(annotations) + 1, "image_id": picture, "category_id": int(row[4]), "iscrowd": int(row[5])}
            annotations.append({**about, "bbox": box, "area": box[2] * box[3]})
        for row in found[picture][found[picture, :, 5] > 0]:
            left, top, right, bottom = row[[1, 0, 3, 2]] * scale
            box = [left, top, right - left, bottom - top]
            results.append({"image_id": picture, "category_id": int(row[5]), "bbox": box, "score": float(row[4])})
    images = [{"id": i, "height": int(h), "width": int(w)} for i, (h, w) in enumerate(sizes)]
    categories = [{"id": i, "name": str(i)} for i in range(1, classes)]
    paths = folder / "truth.json", folder / "found.json"
    paths[0].write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    paths[1].write_text(json.dumps(results))
    with redirect_stdout(io.StringIO()):
        known = COCO(str(paths[0]))
        evaluation = COCOeval(known, known.loadRes(str(paths[1])), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.asarray(evaluation.stats)


@pytest.mark.parametrize("seed", range(6))
def test_detections_are_scored_as_pycocotools_scores_its_own_files(seed: int, tmp_path: Path) -> None:
    """With crowds, empty pictures, classes that nothing shows, and equal probabilities."""
    truths, found, sizes = scene(np.random.default_rng(seed), 12, 6, 4)
    wanted = coco_on_files(truths, found, sizes, 4, tmp_path)
    got = detection_score(found, truths, sizes, 4, seed=0)
    assert (got.map_pct, got.map50_pct, got.map75_pct) == pytest.approx(tuple(100 * wanted[:3]), abs=1e-9)
    assert got.low_pct <= got.map_pct <= got.high_pct
    assert got.map_pct == pytest.approx(np.mean(list(got.of_class.values())))


def test_perfect_detections_score_100_and_none_at_all_scores_0(capsys: pytest.CaptureFixture[str]) -> None:
    truths, _, sizes = scene(np.random.default_rng(3), 8, 4, 3)
    truths[:, :, 5] = 0
    perfect = np.zeros((8, 100, 6))
    perfect[:, : truths.shape[1]] = np.concatenate([truths[:, :, :4], truths[:, :, 4:5] > 0, truths[:, :, 4:5]], 2)
    assert detection_score(perfect, truths, sizes, 3).map_pct == pytest.approx(100)
    nothing = detection_score(np.zeros((8, 100, 6)), truths, sizes, 3, seed=1)
    assert (nothing.map_pct, nothing.low_pct, nothing.high_pct) == (0, 0, 0)
    assert not capsys.readouterr().out  # pycocotools prints what it does
