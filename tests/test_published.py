"""Published accuracies: the printed numbers, and no number for a network that nobody published."""

from dataclasses import replace

import pytest

from mnsweep.accuracy.published import DEFAULT_SOURCE, published, sources
from mnsweep.arch.layers import expand
from mnsweep.cell import Cell, Deployment, Design
from mnsweep.errors import MnsweepError

# TensorFlow models, research/slim/nets/mobilenet_v1.md, checkpoints of 2018-08-02: top-1, top-5.
SLIM = {
    (1.0, 224): (70.9, 89.9),
    (1.0, 192): (70.0, 89.2),
    (1.0, 160): (68.0, 87.7),
    (1.0, 128): (65.2, 85.8),
    (0.75, 224): (68.4, 88.2),
    (0.75, 192): (67.2, 87.3),
    (0.75, 160): (65.3, 86.0),
    (0.75, 128): (62.1, 83.9),
    (0.5, 224): (63.3, 84.9),
    (0.5, 192): (61.7, 83.6),
    (0.5, 160): (59.1, 81.9),
    (0.5, 128): (56.3, 79.4),
    (0.25, 224): (49.8, 74.2),
    (0.25, 192): (47.7, 72.3),
    (0.25, 160): (45.5, 70.3),
    (0.25, 128): (41.5, 66.3),
}
# Howard et al. 2017, tables 6, 7 and 9: top-1.
PAPER = {
    (1.0, 224): 70.6,
    (0.75, 224): 68.4,
    (0.5, 224): 63.7,
    (0.25, 224): 50.6,
    (1.0, 192): 69.1,
    (1.0, 160): 67.2,
    (1.0, 128): 64.4,
    (0.5, 160): 60.2,
}
FULL = Design(1.0, 224)


@pytest.mark.parametrize(("alpha", "resolution"), SLIM)
def test_the_default_source_has_the_16_checkpoints(alpha: float, resolution: int) -> None:
    quality = published(Cell(Design(alpha, resolution)))
    assert quality is not None
    assert (quality.quality_pct, quality.top5_pct) == SLIM[alpha, resolution]
    assert (quality.metric, quality.source, quality.provenance) == ("imagenet_top1", "slim-2018-08", "published: slim-2018-08")
    assert "mobilenet_v1.md" in quality.reference


@pytest.mark.parametrize(("alpha", "resolution"), SLIM)
def test_the_paper_has_its_eight_rows_and_no_others(alpha: float, resolution: int) -> None:
    quality = published(Cell(Design(alpha, resolution)), "paper")
    assert (quality and quality.quality_pct) == PAPER.get((alpha, resolution))
    assert quality is None or (quality.top5_pct is None and quality.provenance == "published: paper")


@pytest.mark.parametrize("source", ["slim-2018-08", "paper"])
@pytest.mark.parametrize(
    "design",
    [
        Design(0.33, 224),
        Design(1.0, 176),
        Design(2.0, 224),
        replace(FULL, conv_padding="keras"),
        replace(FULL, conv_padding="symmetric"),
        replace(FULL, activation="relu"),
        replace(FULL, classes=10),
        replace(FULL, classes=1001),
        replace(FULL, width_rule="round8", activation="relu"),
        Design(0.33, 224, width_rule="round8"),
    ],
    ids=lambda design: Cell(design).id,
)
def test_another_network_has_no_published_number(design: Design, source: str) -> None:
    assert published(Cell(design), source) is None


@pytest.mark.parametrize(("alpha", "resolution"), SLIM)
def test_round8_at_a_published_alpha_is_the_published_network(alpha: float, resolution: int) -> None:
    rounded = Design(alpha, resolution, width_rule="round8")
    assert expand(rounded) == expand(Design(alpha, resolution))
    assert published(Cell(rounded)) == published(Cell(Design(alpha, resolution)))


@pytest.mark.parametrize("deployment", [Deployment(threads=2), Deployment(batch=8)])
def test_how_fp32_runs_does_not_change_its_number(deployment: Deployment) -> None:
    assert published(Cell(FULL, deployment)) == published(Cell(FULL))


@pytest.mark.parametrize("source", ["", "slim", "Paper", "slim-2018-08 "])
def test_an_unknown_source_is_named_with_the_known_ones(source: str) -> None:
    with pytest.raises(MnsweepError) as error:
        published(Cell(FULL), source)
    assert repr(source) in str(error.value)
    assert "slim-2018-08, paper" in str(error.value)


def test_the_default_source_is_the_first() -> None:
    assert sources() == (DEFAULT_SOURCE, "paper") == ("slim-2018-08", "paper")
