"""Reading the labels of each task: what is right, and what is refused in one line."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnsweep.errors import MnsweepError
from mnsweep.tasks.attributes import Attributes
from mnsweep.tasks.boxes import Boxes
from mnsweep.tasks.identities import Identities
from mnsweep.tasks.kind import Examples, Kind
from mnsweep.tasks.kinds import KINDS
from mnsweep.tasks.places import NOWHERE, Cells, Places, answered_places


def pictures(folder: Path, count: int) -> list[str]:
    """Names of small pictures that are made in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", (20, 10), (i % 256, 0, 0)).save(folder / f"{i}.png")
    return [f"{i}.png" for i in range(count)]


def table(path: Path, header: str, rows: Sequence[str]) -> Path:
    """A CSV file with pictures 0.png, 1.png … beside it, one for each row."""
    pictures(path.parent, len(rows))
    path.write_text("\n".join([header, *(f"{i}.png,{row}" for i, row in enumerate(rows))]) + "\n")
    return path


def refused(kind: Kind, data: Path, *parts: str, names: Sequence[str] | None = None) -> None:
    """It is refused in one line, which says where, what and what to do."""
    with pytest.raises(MnsweepError) as error:
        kind.split(data, 0) if names is None else kind.read(data, None, names)
    text = str(error.value)
    assert "\n" not in text and all(part in text for part in parts), text


def test_attributes_of_celeba_are_read_and_a_fifth_is_held_out(tmp_path: Path) -> None:
    rows = [f"{'1' if i % 2 else '-1'},{'' if i == 3 else i % 3 and 1}" for i in range(30)]
    split = Attributes().split(table(tmp_path / "d/attributes.csv", "image_id,Smiling,Hat", rows), 0)
    assert split.names == ("Smiling", "Hat") and not split.is_own
    assert (len(split.train.paths), len(split.validation.paths)) == (24, 6)
    every = Attributes().read(tmp_path / "d", None, ())
    assert every.truths[:2].tolist() == [[0, 0], [1, 1]] and np.isnan(every.truths[3, 1])
    assert Attributes().read(tmp_path / "d", None, ["Hat"]).truths.shape == (30, 1)


@pytest.mark.parametrize(
    ("header", "rows", "parts"),
    [
        ("picture,hat", ["1", "2"], ("line 3", "hat is '2'", "write 1 or 0")),
        ("picture,hat", ["1", "1,0"], ("line 3", "number of columns")),
        ("picture,hat", ["1"] * 20, ("'hat' has one value only", "leave the column out")),
        ("photo,hat", ["1", "0"], ("no column 'picture'", "picture")),
        ("picture", [], ("lists no pictures",)),
    ],
)
def test_bad_attributes_are_refused(tmp_path: Path, header: str, rows: Sequence[str], parts: tuple[str, ...]) -> None:
    refused(Attributes(), table(tmp_path / "a.csv", header, rows), "`data`", *parts)


def test_missing_pictures_and_files_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "picture,hat", ["1", "0"])
    path.write_text(path.read_text() + "gone.png,1\n")
    refused(Attributes(), path, "line 4", "gone.png: no such picture", "relative to the folder of the CSV file")
    refused(Attributes(), tmp_path / "nothing", "no such file or folder")
    refused(Attributes(), tmp_path, "has no attributes.csv")
    refused(Attributes(), table(tmp_path / "b.csv", "picture,hat", ["1", "0"]), "nothing about 'beard'", names=["hat", "beard"])
    (tmp_path / "c.csv").write_bytes(b"picture,hat\n\xff\xfe,1\n")
    refused(Attributes(), tmp_path / "c.csv", "no text in UTF-8")


def identities(root: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        pictures(root / name, count)
    return root


def test_identities_are_held_out_whole(tmp_path: Path) -> None:
    data = identities(tmp_path / "d", {f"p{i}": 3 for i in range(10)})
    split = Identities().split(data, 1)
    assert {*split.train.truths.tolist()} & {*split.validation.truths.tolist()} == set()
    assert len({*split.validation.truths.tolist()}) == 2 and len(split.train.paths) == 24


def test_pairs_in_csv_are_scored_and_lose_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    names = pictures(tmp_path, 4)
    rows = [(0, 1, 1), (2, 3, "same"), (0, 2, 0), (1, 3, "false")]
    (tmp_path / "pairs.csv").write_text("picture,second,same\n" + "".join(f"{names[a]},{names[b]},{s}\n" for a, b, s in rows))
    examples = Identities().read(tmp_path / "pairs.csv", None, ())
    assert examples.pairs is not None and examples.pairs[:, 2].tolist() == [1, 1, 0, 0]
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    scored = Identities().score(vectors, examples)
    assert scored.quality_pct == 100 and "too few" in scored.remarks[0] and scored.details["different_pairs"] == 2
    place = [path.name for path in examples.paths].index("3.png")
    left = examples.part([i for i in range(4) if i != place])
    assert left.pairs is not None and len(left.pairs) == 2 and Identities().score(vectors[:3], left).quality_pct == 100


@pytest.mark.parametrize(
    ("counts", "part"),
    [
        ({"a": 3, "b": 1, "c": 2}, "'b' has 1 picture"),
        ({"a": 4}, "too few identities"),
        ({"a": 3, "b": 3}, "too few identities"),
    ],
)
def test_bad_identities_are_refused(tmp_path: Path, counts: dict[str, int], part: str) -> None:
    data = tmp_path / "d"
    if "c" in counts:
        identities(data / "val", {"x": 2, "y": 2})
    identities(data / "train" if "c" in counts else data, counts)
    refused(Identities(), data, part)


def test_nothing_is_scored_without_equal_or_without_different_pairs(tmp_path: Path) -> None:
    for truths, part in ([0, 0, 0], "different"), ([0, 1, 2], "equal"):
        examples = Examples(name="d", paths=(Path("a"),) * 3, truths=np.array(truths), names=())
        with pytest.raises(MnsweepError, match=f"no pair of {part}"):
            Identities().score(np.eye(3, dtype=np.float32), examples)


def places(path: Path, rows: Sequence[tuple[float, float]]) -> Path:
    return table(path, "picture,lat,lng", [f"{a},{b}" for a, b in rows])


def test_cells_hold_the_photographs_of_towns_and_are_called_after_their_middle(tmp_path: Path) -> None:
    """Two towns on both sides of the date line, one at the pole, and a photograph that is alone."""
    rng = np.random.default_rng(0)
    towns = [(10.0, 179.999), (10.0, -60.0), (89.99, 0.0)]
    rows = [
        (min(90, a + rng.normal(0, 0.01)), (b + rng.normal(0, 0.01) + 180) % 360 - 180) for a, b in towns for _ in range(20)
    ]
    split = Places().split(places(tmp_path / "places.csv", [*rows, (-40.0, 20.0)]), 0)
    assert all(abs(float(name.split()[1])) <= 180 for name in split.names)
    assert len(split.names) >= 3 and NOWHERE not in split.train.truths[:, 2]
    alone = Cells(np.array([*rows, (-40.0, 20.0)])).number(Places().read(tmp_path / "places.csv", None, ()))
    assert alone.truths[-1, 2] == NOWHERE and "in no cell" in alone.remarks[0]
    near = alone.part(np.flatnonzero(alone.truths[:, 2] != NOWHERE).tolist())
    assert len(near.paths) > 50
    outputs = np.eye(len(near.names), dtype=np.float32)[near.truths[:, 2].astype(int)]
    assert Places().score(outputs, near).quality_pct == 100
    middles = answered_places(outputs, near.names)[np.abs(near.truths[:, 1]) > 170]
    assert np.abs(middles[:10, 0] - 10).max() < 0.2 and np.abs(np.abs(middles[:10, 1]) - 180).max() < 0.3


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ([(91.0, 0.0)], ("line 2", "latitude 91 is outside of −90 to 90")),
        ([(0.0, 0.0), (0.0, -181.0)], ("line 3", "longitude -181 is outside")),
        ([(float("nan"), 0.0)], ("line 2", "latitude")),
        ([(1.0, 1.0)] * 10, ("fill 1 cell", "other places")),
    ],
)
def test_bad_places_are_refused(tmp_path: Path, rows: list[tuple[float, float]], parts: tuple[str, ...]) -> None:
    refused(Places(), places(tmp_path / "p.csv", rows), *parts)


def test_a_network_whose_outputs_are_no_places_is_refused() -> None:
    for names, part in (("cat", "dog"), "'cat' is not called after a place"), ((), "not called after places"):
        with pytest.raises(MnsweepError, match=part):
            answered_places(np.eye(2, dtype=np.float32), names)


def coco(folder: Path, half: str, boxes: Sequence[tuple[int, int, list[float], int]], **changes: object) -> Path:
    """A COCO folder with three pictures of 20 × 10 px; categories have gaps in their numbers."""
    names = pictures(folder / half, 3)
    document = {
        "images": [{"id": 10 * i, "file_name": name, "width": 20, "height": 10} for i, name in enumerate(names)],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "bbox": box, "iscrowd": crowd, "area": 1, "segmentation": []}
            for n, (i, c, box, crowd) in enumerate(boxes)
        ],
        "categories": [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}],
        **changes,
    }
    path = folder / "annotations" / f"instances_{half}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return path


BOXES: list[tuple[int, int, list[float], int]] = [
    (0, 3, [2, 1, 8, 4], 0),
    (0, 90, [10, 0, 5, 10], 1),
    (10, 90, [15, 5, 9, 9], 0),  # reaches outside
    (10, 3, [4, 4, 0, 3], 0),  # has no area
    (10, 3, [30, 30, 5, 5], 0),  # lies outside
]


def test_boxes_of_coco_are_fractions_with_crowds_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    coco(tmp_path, "train", BOXES)
    coco(tmp_path, "val", [(20, 90, [0, 0, 20, 10], 0)])
    split = Boxes().split(tmp_path, 0)
    assert split.names == ("background", "cat", "dog") and split.is_own
    np.testing.assert_allclose(split.train.truths[0], [[0.1, 0.1, 0.5, 0.5, 1, 0], [0, 0.5, 1, 0.75, 2, 1]], atol=1e-6)
    np.testing.assert_allclose(split.train.truths[1, 0], [0.5, 0.75, 1, 1, 2, 0], atol=1e-6)
    assert not split.train.truths[1, 1].any()
    assert not split.train.truths[2].any() and split.train.sizes is not None and split.train.sizes.tolist() == [[10, 20]] * 3
    assert [r.split(": ")[1] for r in split.remarks] == [
        "2 boxes without area inside the picture left out",
        "1 box clipped at the border of the picture",
    ]
    own = Boxes().read(tmp_path, None, ("background", "dog", "cat"))
    assert own.truths[2, 0, 4] == 1 and len(own.paths) == 3
    one = tmp_path / "annotations/instances_train.json"
    one.write_bytes(b"\xef\xbb\xbf" + one.read_bytes())  # as some editors write UTF-8
    assert len(Boxes().split(one, 0).validation.paths) == 1


def voc(folder: Path) -> Path:
    names = pictures(folder / "JPEGImages", 4)
    (folder / "Annotations").mkdir()
    for i, name in enumerate(names):
        box = "<bndbox><xmin>1</xmin><ymin>3</ymin><xmax>10</xmax><ymax>10</ymax></bndbox>"
        thing = f"<object><name>{'cat' if i else 'dog'}</name><difficult>{int(i == 2)}</difficult>{box}</object>"
        size = "<size><width>20</width><height>10</height><depth>3</depth></size>"
        (folder / f"Annotations/{i}.xml").write_text(f"<annotation><filename>{name}</filename>{size}{thing}</annotation>")
    (folder / "ImageSets/Main").mkdir(parents=True)
    (folder / "ImageSets/Main/train.txt").write_text("0\n1\n")
    (folder / "ImageSets/Main/val.txt").write_text("2\n3\n")
    return folder


def test_boxes_of_pascal_voc_count_from_one_and_difficult_ones_need_not_be_found(tmp_path: Path) -> None:
    split = Boxes().split(voc(tmp_path / "VOC2007"), 0)
    assert split.names == ("background", "cat", "dog") and split.train.name == "VOC2007"
    np.testing.assert_allclose(split.train.truths[:, 0], [[0.2, 0, 1, 0.5, 2, 0], [0.2, 0, 1, 0.5, 1, 0]], atol=1e-6)
    assert split.validation.truths[:, 0, 5].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("boxes", "changes", "parts"),
    [
        ([(7, 3, [0, 0, 1, 1], 0)], {}, ("annotation 1", "there is no image 7")),
        ([(0, 4, [0, 0, 1, 1], 0)], {}, ("annotation 1", "no category 4", "3, 90")),
        ([], {}, ("none of its pictures to train on has a box",)),
        ([(0, 3, [0, 0, 5, 5], 1)], {}, ("none of its pictures to train on has a box", "crowds")),
        ([(0, 3, [0, 0, 1], 0)], {}, ("no COCO file", "bbox")),
        (BOXES, {"categories": []}, ("has no categories",)),
        (BOXES, {"images": []}, ("has no images",)),
        (BOXES, {"categories": [{"id": 3, "name": "cat"}, {"id": 90, "name": "Cat"}]}, ("one name",)),
        (BOXES, {"categories": [{"id": 3, "name": "background"}, {"id": 90, "name": "Cat"}]}, ("background",)),
        (BOXES, {"images": [{"id": 0, "file_name": "gone.png", "width": 5, "height": 5}]}, ("no image 10",)),
        ([], {"images": [{"id": 0, "file_name": "gone.png", "width": 5, "height": 5}]}, ("gone.png: no such picture",)),
        ([], {"images": [{"id": 0, "file_name": "0.png", "width": 0, "height": 5}]}, ("width",)),
    ],
)
def test_bad_boxes_are_refused(
    tmp_path: Path, boxes: list[tuple[int, int, list[float], int]], changes: dict[str, object], parts: tuple[str, ...]
) -> None:
    coco(tmp_path, "train", boxes, **changes)
    coco(tmp_path, "val", BOXES)
    refused(Boxes(), tmp_path, *parts)


def test_folders_without_boxes_and_unknown_classes_are_refused(tmp_path: Path) -> None:
    refused(Boxes(), tmp_path, "neither annotations (COCO) nor Annotations (Pascal VOC)")
    coco(tmp_path, "train", BOXES)
    refused(Boxes(), tmp_path, "has no file instances_val*.json")
    coco(tmp_path, "val", BOXES)
    refused(Boxes(), tmp_path, "the class 'cat'", "is none of 'dog'", names=("background", "dog"))
    (tmp_path / "annotations/instances_val.json").write_text("{")
    refused(Boxes(), tmp_path, "no COCO file")
    root = voc(tmp_path / "voc")
    (root / "Annotations/1.xml").write_text("<annotation><size><width>9</width></size></annotation>")
    refused(Boxes(), root, "no annotation of Pascal VOC", "size/height is missing")
    (root / "Annotations/1.xml").write_text("<annotation>")
    refused(Boxes(), root, "1.xml")


@pytest.mark.parametrize("kind", [name for name in KINDS if name != "classes"])
def test_a_label_file_is_for_classes_alone(tmp_path: Path, kind: str) -> None:
    with pytest.raises(MnsweepError, match="are read from `data`"):
        KINDS[kind].read(tmp_path, tmp_path / "labels.txt", ())
