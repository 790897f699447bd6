"""Files of boxes: COCO's JSON (`instances_*.json`) and Pascal VOC's folders.

DIR/annotations/instances_train.json, DIR/train/…     COCO's layout, also with years: instances_train2017.json
DIR/JPEGImages, DIR/Annotations, DIR/ImageSets/Main    VOC's layout, with train.txt and val.txt
FILE.json                                              one half; pictures beside it, or as COCO has them
"""

import xml.etree.ElementTree as ET
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated as Limited

import msgspec

from mnsweep.decoding import DamagedError, from_json
from mnsweep.errors import MnsweepError

BACKGROUND = "background"  # the name of a detector's first output
COCO_FOLDER, COCO_FILES = "annotations", "instances_{}*.json"
VOC_BOXES, VOC_PICTURES, VOC_LISTS = "Annotations", "JPEGImages", "ImageSets/Main"
HALVES = ("train", "val")


@dataclass(frozen=True, slots=True)
class Box:
    """A box in pixels: (top, left, bottom, right), its class, and whether it is of a crowd, which nobody need find."""

    corners: tuple[float, float, float, float]
    name: str
    crowd: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, its size in pixels, and its boxes."""

    path: Path
    height: int
    width: int
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Annotated:
    """Pictures with boxes, and the classes that the file names, in its order."""

    name: str
    pictures: tuple[Picture, ...]
    classes: tuple[str, ...]


def find_halves(data: Path) -> list[Annotated]:
    """What to train on and to validate on, or all in one where nothing tells. Raises `MnsweepError` for what can't be read."""
    if data.is_file():
        return [_coco(data)]
    _check_folder(data)
    if (data / VOC_BOXES).is_dir():
        lists = [data / VOC_LISTS / f"{half}.txt" for half in HALVES]
        if not all(each.is_file() for each in lists):
            return [_voc(data, None)]
        halves = [_voc(data, each) for each in lists]
        every = tuple(sorted({name for half in halves for name in half.classes}))
        return [Annotated(half.name, half.pictures, every) for half in halves]
    return [_coco(_half_of(data, half)) for half in HALVES]


def find_one(data: Path) -> Annotated:
    """What to score on: a file, or the half of a folder that is to validate on. Raises as `find_halves` does."""
    if data.is_file():
        return _coco(data)
    _check_folder(data)
    if (data / VOC_BOXES).is_dir():
        own = data / VOC_LISTS / f"{HALVES[1]}.txt"
        return _voc(data, own if own.is_file() else None)
    return _coco(_half_of(data, HALVES[1]))


def _check_folder(data: Path) -> None:
    if not data.is_dir():
        raise MnsweepError(f"`data` {data}: no such file or folder")
    if not any((data / name).is_dir() for name in (COCO_FOLDER, VOC_BOXES)):
        what = f"`data` {data}: has neither {COCO_FOLDER} (COCO) nor {VOC_BOXES} (Pascal VOC)"
        raise MnsweepError(what, "name such a folder, or a COCO JSON file")


def _half_of(data: Path, half: str) -> Path:
    pattern = COCO_FILES.format(half)
    found = sorted((data / COCO_FOLDER).glob(pattern))
    if len(found) != 1:
        has = f"{len(found)} files" if found else "no file"
        raise MnsweepError(f"`data` {data / COCO_FOLDER}: has {has} {pattern}", "name one JSON file")
    return found[0]


_Count = Limited[int, msgspec.Meta(ge=1, le=1_000_000)]


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: _Count
    height: _Count


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _Coco(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def _coco(path: Path) -> Annotated:
    try:
        content = from_json(path.read_bytes().removeprefix(BOM_UTF8), _Coco)
    except OSError as error:
        raise MnsweepError(f"`data` {path}: {error.strerror}") from None
    except DamagedError as error:
        raise MnsweepError(f"`data` {path}: is no COCO file of boxes: {error.what}") from None
    names = {category.id: category.name for category in sorted(content.categories, key=lambda c: c.id)}
    if not content.images or not names:
        raise MnsweepError(f"`data` {path}: has no {'categories' if content.images else 'images'}")
    if len({name.casefold() for name in names.values()} - {BACKGROUND}) != len(content.categories):
        raise MnsweepError(f"`data` {path}: two categories have one name or id, or one is called {BACKGROUND}", "rename one")
    boxes: dict[int, list[Box]] = {image.id: [] for image in content.images}
    if len(boxes) != len(content.images):
        raise MnsweepError(f"`data` {path}: two images have one id")
    for place, box in enumerate(content.annotations):
        where = f"`data` {path}: annotation {place + 1}"
        if box.image_id not in boxes:
            raise MnsweepError(f"{where}: there is no image {box.image_id}")
        if box.category_id not in names:
            raise MnsweepError(
                f"{where}: there is no category {box.category_id}", f"known: {', '.join(map(str, [*names][:10]))}"
            )
        left, top, width, height = box.bbox
        boxes[box.image_id].append(Box((top, left, top + height, left + width), names[box.category_id], bool(box.iscrowd)))
    root = _root(path, content.images[0].file_name)
    pictures = [Picture(root / image.file_name, image.height, image.width, tuple(boxes[image.id])) for image in content.images]
    _check_pictures(path, pictures)
    name = path.parents[1].resolve().name if path.parent.name == COCO_FOLDER else path.stem
    return Annotated(name, tuple(pictures), tuple(names.values()))


def _root(path: Path, first: str) -> Path:
    """The folder of the pictures of a COCO file."""
    half = path.stem.removeprefix(COCO_FILES.partition("{")[0])
    above = path.parent.parent
    places = (path.parent, path.parent / "images", above / half, above / "images" / half, above / "images", above)
    return next((place for place in places if (place / first).is_file()), places[0])


def _check_pictures(path: Path, pictures: Sequence[Picture]) -> None:
    if missing := next((picture for picture in pictures if not picture.path.is_file()), None):
        what = f"`data` {path}: {missing.path}: no such picture"
        raise MnsweepError(what, f"put pictures beside the file, or into a folder as COCO has them ({HALVES[0]}, {HALVES[1]})")


def _voc(data: Path, listed: Path | None) -> Annotated:
    try:
        if listed is None:
            stems = sorted(path.stem for path in (data / VOC_BOXES).glob("*.xml"))
        else:
            stems = [line.split()[0] for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        raise MnsweepError(f"`data` {listed or data}: can't be read") from None
    pictures = [_voc_picture(data, stem) for stem in stems]
    if not pictures:
        raise MnsweepError(f"`data` {listed or data / VOC_BOXES}: names no pictures")
    _check_pictures(data, pictures)
    names = tuple(sorted({box.name for picture in pictures for box in picture.boxes}))
    return Annotated(data.resolve().name, tuple(pictures), names)


def _voc_picture(data: Path, stem: str) -> Picture:
    path = data / VOC_BOXES / f"{stem}.xml"
    try:
        root = ET.parse(path).getroot()  # noqa: S314 - expat limits what entities expand to since 2.4.1
        size = [int(_text(root, f"size/{name}")) for name in ("height", "width")]
        boxes = tuple(_voc_box(item) for item in root.iterfind("object"))
        name = root.findtext("filename") or f"{stem}.jpg"
    except OSError as error:
        raise MnsweepError(f"`data` {path}: {error.strerror}") from None
    except (ET.ParseError, ValueError) as error:
        raise MnsweepError(f"`data` {path}: is no annotation of Pascal VOC: {error}") from None
    if min(size) < 1:
        raise MnsweepError(f"`data` {path}: the picture has no size")
    return Picture(data / VOC_PICTURES / name, size[0], size[1], boxes)


def _voc_box(item: ET.Element) -> Box:
    """VOC counts pixels from 1, and the last one is inside. Difficult objects are as COCO's crowds: nobody need find them."""
    left, top, right, bottom = (float(_text(item, f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax"))
    difficult = (item.findtext("difficult") or "0").strip() == "1"
    return Box((top - 1, left - 1, bottom, right), _text(item, "name"), difficult)


def _text(item: ET.Element, path: str) -> str:
    found = item.findtext(path)
    if found is None or not found.strip():
        raise ValueError(f"{path} is missing")
    return found.strip()
