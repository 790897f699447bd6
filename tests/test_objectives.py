"""Targets and losses of the tasks against plain numpy, written from the papers' and the API's formulas."""

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnsweep.cell import Design
from mnsweep.graph.torch_boxes import SsdDetections, centred, decoded, overlaps, suppressed
from mnsweep.tasks.kind import Examples
from mnsweep.training.augment import drawn_moves, moved_boxes
from mnsweep.training.objectives import boxes as ssd
from mnsweep.training.objectives import proposals as rcnn
from mnsweep.training.objectives.attributes import AttributeObjective, cross_entropy
from mnsweep.training.objectives.boxes import BoxObjective, as_corners, encoded, matches, ssd_loss
from mnsweep.training.objectives.identities import MARGIN, OF_EACH, IdentityObjective, triplet_loss
from mnsweep.training.objectives.table import objective_of
from mnsweep.training.recipe import read_recipe
from mnsweep.training.start import fresh_net, net_from
from tests.test_training import QUICK

SEEDS = st.integers(0, 2**32 - 1)
RECIPE = read_recipe("detect")


def random_boxes(rng: np.random.Generator, batch: int, most: int, classes: int) -> np.ndarray:
    """Truths (batch, most, 6): some places hold no box, some a crowd."""
    low = rng.uniform(0, 0.8, (batch, most, 2))
    corners = np.concatenate([low, np.minimum(low + rng.uniform(0.02, 0.6, (batch, most, 2)), 1)], 2)
    labels = rng.integers(0, classes, (batch, most, 1))
    return np.concatenate([corners, labels, rng.random((batch, most, 1)) < 0.2], 2).astype(np.float32)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Of two boxes, in floats."""
    high, wide = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(high, 0) * max(wide, 0)
    total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / total if total > 0 else 0.0


def matched(anchors: np.ndarray, boxes: np.ndarray, least: float, most: float) -> list[int]:
    """The number of the box of each anchor: the API's argmax matcher with force_match_for_each_row, box by box."""
    real = [i for i, box in enumerate(boxes) if box[4] > 0 and not box[5]]
    crowds = [box for box in boxes if box[5]]
    found = []
    for anchor in anchors:
        shares = {i: iou(boxes[i], anchor) for i in real}
        best = max(shares, key=lambda i: (shares[i], -i), default=None)
        if best is not None and shares[best] >= most:
            found.append(best)
        elif (best is not None and shares[best] >= least) or any(iou(crowd, anchor) >= 0.5 for crowd in crowds):
            found.append(-2)
        else:
            found.append(-1)
    for i in reversed(real):  # of several boxes with one best anchor, the first has it
        found[int(np.argmax([iou(boxes[i], anchor) for anchor in anchors]))] = i
    return found


ANCHORS = torch.rand(30, 4, generator=torch.Generator().manual_seed(5)) * 0.5 + 0.2  # centres and sizes


@given(SEEDS, st.sampled_from([(0.5, 0.5), (0.3, 0.7)]))
def test_anchors_are_matched_as_the_api_matches_them(seed: int, bounds: tuple[float, float]) -> None:
    boxes = random_boxes(np.random.default_rng(seed), 3, 4, 4)
    found = matches(as_corners(ANCHORS), torch.from_numpy(boxes), *bounds)
    corners = as_corners(ANCHORS).numpy()
    assert found.tolist() == [matched(corners, picture, *bounds) for picture in boxes]


def sigmoid_losses(logits: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    chance = 1 / (1 + np.exp(-logits))
    each: np.ndarray = -(wanted * np.log(chance) + (1 - wanted) * np.log(1 - chance))
    return each


@given(SEEDS, st.sampled_from(["focal", "mined"]))
def test_the_loss_of_an_ssd_is_that_of_its_formula(seed: int, negatives: str) -> None:
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, 2, 3, 4)
    offsets, logits = rng.normal(0, 1, (2, 30, 4)), rng.normal(0, 2, (2, 30, 4))
    anchors, total, of_class, of_place = ANCHORS.double().numpy(), 0, 0.0, 0.0
    for picture in range(2):
        match = matched(as_corners(ANCHORS).numpy(), boxes[picture], 0.5, 0.5)
        wanted = np.zeros((30, 4))
        for i, number in enumerate(match):
            wanted[i, int(boxes[picture, number, 4]) if number >= 0 else 0] = 1
        if negatives == "focal":
            wanted[:, 0] = 0
        each = sigmoid_losses(logits[picture], wanted)
        if negatives == "focal":
            chance = 1 / (1 + np.exp(-logits[picture]))
            off = np.where(wanted == 1, 1 - chance, chance)
            each = each * np.where(wanted == 1, 0.75, 0.25) * off**2
            of_class += sum(each[i].sum() for i, number in enumerate(match) if number != -2)
        else:
            positives = [i for i, number in enumerate(match) if number >= 0]
            others = sorted((each[i].sum() for i, number in enumerate(match) if number == -1), reverse=True)
            of_class += sum(each[i].sum() for i in positives) + sum(others[: 3 * len(positives)])
        for i, number in enumerate(match):
            if number < 0:
                continue
            total += 1
            top, left, bottom, right = boxes[picture, number, :4].astype(float)
            cy, cx, high, wide = anchors[i]
            aim = [
                10 * ((top + bottom) / 2 - cy) / high,
                10 * ((left + right) / 2 - cx) / wide,
                5 * np.log((bottom - top) / high),
                5 * np.log((right - left) / wide),
            ]
            for value, goal in zip(offsets[picture, i], aim, strict=True):
                apart = abs(value - goal)
                of_place += 0.5 * apart**2 if apart < 1 else apart - 0.5
    recipe = msgspec.structs.replace(RECIPE, negatives=negatives)
    places, scores, truths = (torch.from_numpy(part).double() for part in (offsets, logits, boxes))
    found = float(ssd_loss(places, scores, ANCHORS.double(), truths, recipe))
    weight = 0.25 if negatives == "focal" else 1.0
    assert found == pytest.approx((of_class + weight * of_place) / max(1, total), rel=1e-5)


@given(SEEDS)
def test_coding_is_undone_by_decoding(seed: int) -> None:
    corners = torch.from_numpy(random_boxes(np.random.default_rng(seed), 1, 30, 3)[0, :, :4])
    torch.testing.assert_close(decoded(encoded(corners, ANCHORS), ANCHORS), corners, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(as_corners(centred(corners)), corners)


@given(SEEDS)
def test_suppression_is_greedy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, 1, 20, 2)[0, :, :4], np.round(rng.random((2, 20)), 2).astype(np.float32)
    index, kept = suppressed(torch.from_numpy(boxes)[None, None], torch.from_numpy(scores)[None], 8, 0.4, 0.3)
    for number in range(2):
        wanted: list[int] = []
        for place in sorted(range(20), key=lambda i: (-scores[number, i], i)):
            free = all(iou(boxes[place].astype(float), boxes[other].astype(float)) <= 0.4 for other in wanted)
            if scores[number, place] > 0.3 and len(wanted) < 8 and free:
                wanted.append(place)
        assert index[0, number][kept[0, number] > float("-inf")].tolist() == wanted


@given(SEEDS)
def test_boxes_move_with_their_pictures(seed: int) -> None:
    """A bright rectangle, moved as a picture and as a box, is found where the box says; none is found outside."""
    generator = torch.Generator().manual_seed(seed % 2**31)
    recipe = msgspec.structs.replace(QUICK, shift=0.15, zoom=0.2, turn=0.0, flip=True, colour=0.0)
    moves = drawn_moves(1, recipe, generator)
    assert moves is not None
    side, box = 96, torch.tensor([[[0.3, 0.4, 0.6, 0.55, 2.0, 0.0]]])
    picture = torch.zeros(1, 1, side, side)
    picture[:, :, round(0.3 * side) : round(0.6 * side), round(0.4 * side) : round(0.55 * side)] = 1
    grid = torch.nn.functional.affine_grid(moves, list(picture.shape), align_corners=False)
    shown = torch.nn.functional.grid_sample(picture, grid, align_corners=False)[0, 0] > 0.5
    top, left, bottom, right, number, crowd = moved_boxes(box, moves)[0, 0].tolist()
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    found = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
    np.testing.assert_allclose(np.array([top, left, bottom, right]) * side, found, atol=1.6)
    assert (number, crowd) == (2, 0)


def test_a_box_that_leaves_the_picture_is_none_and_one_that_hardly_stays_is_a_crowd() -> None:
    away = torch.tensor([[[1.0, 0, 1.0], [0, 1.0, 0]]])  # by half the side
    moved = moved_boxes(
        torch.tensor([[[0.1, 0.0, 0.3, 0.4, 1, 0], [0.1, 0.2, 0.3, 0.6, 1, 0], [0.5, 0.6, 0.7, 0.9, 1, 0]]]), away
    )
    assert moved[0, :, 4].tolist() == [0, 1, 1] and moved[0, :, 5].tolist() == [1, 1, 0]


def test_the_second_stage_learns_from_true_boxes_and_from_what_is_none() -> None:
    truths = torch.tensor([[[0.1, 0.1, 0.4, 0.4, 3, 0], [0.5, 0.5, 0.9, 0.9, 1, 1], [0, 0, 0, 0, 0, 0]]])
    proposed = torch.tensor([[[0.1, 0.1, 0.4, 0.38], [0.6, 0.1, 0.9, 0.3], [0.0, 0.0, 0.0, 0.0]]])
    boxes, match = rcnn.learned_from(proposed, truths)
    assert match[0, :3].tolist() == [0, 0, -1] and boxes[0, 0].tolist() == pytest.approx([0.1, 0.1, 0.4, 0.4])
    offsets, logits = torch.zeros(boxes.shape[1], 3 * 4), torch.zeros(boxes.shape[1], 4)
    better = logits.clone()
    better[:2, 3], better[2:, 0] = 4, 4
    first, second = (float(rcnn.class_loss(offsets, each, boxes, match, truths)) for each in (logits, better))
    place = float(rcnn.class_loss(encoded_for(boxes, match, truths), better, boxes, match, truths))
    assert place < second < first


def encoded_for(boxes: torch.Tensor, match: torch.Tensor, truths: torch.Tensor) -> torch.Tensor:
    """Offsets of all classes that lead to the true boxes."""
    own = ssd.taken(truths, match)[..., :4]
    anchors = centred(boxes).clamp_min(1e-3)
    return encoded(own, anchors)[0].repeat(1, 3)


@given(SEEDS, st.integers(2, 9), st.integers(1, 4))
def test_the_triplet_loss_takes_semi_hard_negatives(seed: int, count: int, identities: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = rng.integers(0, identities, count)
    apart = ((vectors[:, None] - vectors) ** 2).sum(2)
    every = []
    for a, p in [(a, p) for a in range(count) for p in range(count) if a != p and numbers[a] == numbers[p]]:
        others = [apart[a, n] for n in range(count) if numbers[n] != numbers[a]]
        if others:
            beyond = [d for d in others if d > apart[a, p]]
            every.append(max(0.0, apart[a, p] - (min(beyond) if beyond else max(others)) + MARGIN))
    found = float(triplet_loss(torch.from_numpy(vectors), torch.from_numpy(numbers)))
    assert found == pytest.approx(np.mean(every) if every else 0.0, abs=1e-9)


def test_a_batch_of_identities_has_several_pictures_of_each() -> None:
    truths = torch.arange(60) // 6
    objective = IdentityObjective(Examples(name="x", paths=(), truths=truths.numpy(), names=()))
    batches = list(objective.batches(truths, 20, torch.Generator().manual_seed(0)))
    assert len(batches) == 3 and {len(batch) for batch in batches} == {20}
    for batch in batches:
        _, counts = np.unique(truths[batch].numpy(), return_counts=True)
        assert set(counts.tolist()) == {OF_EACH} and len(set(batch.tolist())) == 20


def test_unknown_attributes_do_not_count_and_a_teacher_replaces_labels() -> None:
    found = torch.tensor([[0.9, 0.2], [0.4, 0.6]])
    labels = torch.tensor([[1.0, float("nan")], [0.0, 1.0]])
    wanted = -(np.log(0.9) + np.log(0.6) + np.log(0.6)) / 3
    assert float(cross_entropy(found, labels)) == pytest.approx(wanted, rel=1e-6)
    taught = torch.tensor([[0.5, 0.5], [0.1, 0.9]])
    alone = msgspec.structs.replace(QUICK, teacher_weight=1.0, label_smoothing=0.0)
    loss = AttributeObjective().loss(lambda images: images, found, labels, alone, taught)
    assert float(loss) == pytest.approx(float(torch.nn.functional.binary_cross_entropy(found, taught)), rel=1e-6)


def test_an_embedding_learns_the_squared_differences_from_its_teacher() -> None:
    own, taught = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    objective = IdentityObjective(Examples(name="x", paths=(), truths=np.zeros(2), names=()))
    alone = msgspec.structs.replace(QUICK, teacher_weight=1.0)
    loss = objective.loss(lambda images: images, own, torch.tensor([0, 1]), alone, taught)
    assert float(loss) == pytest.approx((0.4**2 + 0.8**2) / 2)


@pytest.mark.parametrize("task", ["ssd", "faster-rcnn"])
def test_a_detector_fits_a_picture_that_it_sees_again_and_again(task: str) -> None:
    torch.manual_seed(0)
    design = Design.of(0.25, 96, task=task, classes=3)
    truths = torch.tensor([[[0.1, 0.1, 0.6, 0.5, 1, 0], [0.4, 0.5, 0.95, 0.95, 2, 0]]]).repeat(2, 1, 1)
    truths[1, 0, 4] = 0
    examples = Examples(name="x", paths=(), truths=truths.numpy(), names=("background", "a", "b"), sizes=np.full((2, 2), 96))
    objective = objective_of(design, examples, RECIPE)
    images = torch.rand(2, 3, 96, 96)
    net = fresh_net(design, 0).train()
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = objective.loss(net, images, truths, RECIPE)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0] and all(np.isfinite(losses))
    with torch.no_grad():
        loss_sum, found = objective.validated(net.eval(), images, truths)
    assert found.shape == (2, 600) and np.isfinite(loss_sum)
    assert 0 <= objective.quality(found.numpy(), truths.numpy()) <= 100


def test_a_detector_starts_from_a_classifier_with_a_new_head_and_says_so() -> None:
    classifier = Design.of(0.25, 96, classes=7)
    from mnsweep.graph.torch_net import from_torch

    weights = from_torch(fresh_net(classifier, 3).eval())
    net, is_new = net_from(Design.of(0.25, 96, task="ssd", classes=3), weights, 0)
    assert is_new and isinstance(net.parts[net.layers[-1].name], SsdDetections)
    np.testing.assert_array_equal(from_torch(net).arrays["stem.weight"], weights.arrays["stem.weight"])


def test_overlaps_of_boxes_without_area_are_0() -> None:
    assert float(overlaps(torch.zeros(4), torch.zeros(4))) == 0
    assert isinstance(objective_of(Design.of(0.25, 96, task="ssd", classes=3), NOTHING, RECIPE), BoxObjective)


NOTHING = Examples(name="x", paths=(), truths=np.zeros((0, 1, 6)), names=())
