"""Scores against counting by hand, intervals against closed forms, labels against their files."""

from math import comb, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mnsweep.accuracy.labels import imagenet, labels_for, read_labels, synsets
from mnsweep.accuracy.scores import by_class, compare, confusions, score
from mnsweep.errors import MnsweepError
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.worker.classify import answers

ANSWERS = arrays(np.float32, st.tuples(st.integers(1, 30), st.integers(2, 9)), elements=st.floats(0, 1, width=32))


@given(ANSWERS, st.data())
def test_top_1_and_top_5_are_counted(found: "np.ndarray[tuple[int, int], np.dtype[np.float32]]", data: st.DataObject) -> None:
    pictures, classes = found.shape
    labels = np.array([data.draw(st.integers(0, classes - 1)) for _ in range(pictures)])
    result = score(found, labels)
    ranks = [sorted(range(classes), key=lambda c, row=row: (-row[c], c)) for row in found.tolist()]  # type: ignore[misc]
    right = sum(rank[0] == label for rank, label in zip(ranks, labels, strict=True))
    assert result.top1_pct == pytest.approx(100 * right / pictures)
    among = sum(label in rank[:5] for rank, label in zip(ranks, labels, strict=True))
    assert result.top5_pct == (None if classes <= 5 else pytest.approx(100 * among / pictures))

    z, p = 1.959963984540054, right / pictures  # Wilson 1927
    middle = (p + z * z / (2 * pictures)) / (1 + z * z / pictures)
    half = z / (1 + z * z / pictures) * sqrt(p * (1 - p) / pictures + z * z / (4 * pictures**2))
    assert (result.top1_ci_low_pct, result.top1_ci_high_pct) == pytest.approx(
        (100 * (middle - half), 100 * (middle + half)), abs=1e-6
    )

    told = by_class(found, labels)
    assert sum(n for n, _ in told.values()) == pictures and sum(n for _, n in told.values()) == right
    assert sum(n for _, n in confusions(found, labels, 100)) == pictures - right


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 5))
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int, both: int) -> None:
    if only_first + only_second + both == 0:
        return
    rows = [(0.9, 0.2)] * only_first + [(0.2, 0.9)] * only_second + [(0.9, 0.9)] * both
    first = np.array([[1 - a, a] for a, _ in rows], np.float32)
    second = np.array([[1 - b, b] for _, b in rows], np.float32)
    compared = compare(first, second, np.ones(len(rows), np.int64))
    n, k = only_first + only_second, min(only_first, only_second)
    exact = min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n) if n else 1.0
    assert compared.mcnemar_p == pytest.approx(exact)
    assert compared.agreement_pct == pytest.approx(100 * both / len(rows))
    assert compared.max_probability_difference == pytest.approx(0.7 if n else 0, abs=1e-6)
    assert compare(first, second, None).mcnemar_p is None


def test_probabilities_stay_and_logits_become_some() -> None:
    found = np.array([[0.75, 0.1875, 0.0]], np.float32)  # a softmax in steps of 1/256 need not add up to 1
    pixels = np.zeros((1, 1, 1, 3), np.uint8)
    as_they_are = answers(lambda image: found, pixels, Preprocessing(), has_softmax=True).probabilities
    assert (as_they_are == found).all()
    raised = answers(lambda image: found, pixels, Preprocessing(), has_softmax=False).probabilities
    assert raised[0] == pytest.approx(np.exp(found[0]) / np.exp(found[0]).sum(), abs=1e-6)


def test_imagenet_has_a_thousand_names_in_the_order_of_their_synsets() -> None:
    assert len(imagenet()) == len(set(imagenet())) == 1000
    assert list(synsets()) == sorted(synsets()) and all(len(wnid) == 9 for wnid in synsets())
    assert (imagenet()[285], imagenet()[985], synsets()[0]) == ("Egyptian cat", "daisy", "n01440764")


def test_labels_fit_or_are_refused(tmp_path: Path) -> None:
    assert labels_for((), 1001, 1, "m")[:2] == ("background", imagenet()[0])
    assert labels_for((), 1000, 0, "m") == imagenet()
    assert labels_for((), 3, None, "m") == ("0", "1", "2")
    assert labels_for(("a", "b"), 3, 1, "m") == ("background", "a", "b")
    with pytest.raises(MnsweepError, match="m: has 2 labels for 4 outputs"):
        labels_for(("a", "b"), 4, None, "m")
    (tmp_path / "labels.txt").write_text("\ufeffcat\n\n dog \n", encoding="utf-8")
    assert read_labels(tmp_path / "labels.txt") == ("cat", "dog")
    with pytest.raises(MnsweepError, match="No such file"):
        read_labels(tmp_path / "none.txt")
