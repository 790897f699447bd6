"""Pictures of every kind become the network's input as their source's own code makes them, and labels are found."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mnsweep.errors import MnsweepError
from mnsweep.pictures.decode import MOST_PIXELS, decode, scaled
from mnsweep.pictures.folders import UNLABELLED, find_pictures
from mnsweep.pictures.pixels import normalized
from mnsweep.pictures.preprocessing import CROPS, INTERPOLATIONS, Preprocessing, from_document
from mnsweep.pictures.stream import CHUNK, streaming

PLAIN = Preprocessing()
RED, BLUE = (200, 10, 20), (10, 20, 200)


def halves(width: int = 80, height: int = 60) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(BLUE, (width // 2, 0, width, height))
    return picture


@pytest.mark.parametrize("crop", CROPS)
def test_a_crop_takes_what_its_source_takes(crop: str) -> None:
    """A white frame whose thickness tells how much of each side was taken."""
    width, height, resolution = 400, 200, 64
    rows, columns = np.mgrid[:height, :width]
    picture = Image.fromarray(np.stack([columns * 255 / width, rows * 255 / height, rows * 0], 2).astype(np.uint8))
    pixels = np.asarray(scaled(picture, resolution, Preprocessing(crop=crop)), float) / 255
    reach = {"squash": (1.0, 1.0), "slim": (0.875, 0.875), "centre": (0.4375, 0.875), "timm": (0.4375, 0.875)}[crop]
    for axis, share in ((0, reach[0]), (1, reach[1])):
        values = pixels[:, :, axis].mean(axis=axis)
        slope = (values[-10] - values[9]) / (len(values) - 19) * resolution
        assert slope == pytest.approx(share, abs=0.02), (crop, axis)
        assert values.mean() == pytest.approx(0.5, abs=0.02)


@given(st.floats(-200, 200), st.floats(1, 300), st.integers(0, 255))
def test_values_are_as_the_preprocessing_says(mean: float, std: float, pixel: int) -> None:
    preprocessing = Preprocessing(mean=mean, std=std)
    image = normalized(np.full((1, 2, 2, 3), pixel, np.uint8), preprocessing)
    assert image.shape == (1, 3, 2, 2) and image.dtype == np.float32
    assert image[0, 0, 0, 0] == pytest.approx((pixel - mean) / std, rel=1e-4, abs=1e-4)
    assert from_document(preprocessing.document()) == preprocessing


def test_colours_keep_their_channels() -> None:
    image = normalized(np.asarray(halves(8, 8))[None], PLAIN)[0]
    assert image[0, 0, 0] > 0 > image[2, 0, 0] and image[2, 0, 7] > 0 > image[0, 0, 7]


def _animated(file: Path) -> None:
    halves().save(file, save_all=True, append_images=[Image.new("RGB", (80, 60), (0, 255, 0))] * 2)


def _rotated(file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to look right
    halves().rotate(90, expand=True).save(file, exif=exif)


def _mode(mode: str) -> Callable[[Path], None]:
    return lambda file: halves().convert(mode).save(file)


WRITERS: dict[str, Callable[[Path], None]] = {
    "rgb.jpg": _mode("RGB"),
    "cmyk.jpg": _mode("CMYK"),
    "palette.png": _mode("P"),
    "alpha.png": _mode("RGBA"),
    "animated.gif": _animated,
    "rotated.jpg": _rotated,
    "lossless.webp": _mode("RGB"),
    "tagged.tiff": _mode("RGB"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_picture_is_red_on_the_left(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    pixels = decode(tmp_path / name, 32, PLAIN).astype(int)
    assert pixels.shape == (32, 32, 3)
    assert np.abs(pixels[4:28, 4:12].mean(axis=(0, 1)) - RED).max() < 25
    assert np.abs(pixels[4:28, 20:28].mean(axis=(0, 1)) - BLUE).max() < 25


def test_grey_and_16_bits_are_grey(tmp_path: Path) -> None:
    halves().convert("L").save(tmp_path / "grey.png")
    Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(tmp_path / "deep.png")
    assert np.ptp(decode(tmp_path / "grey.png", 32, PLAIN), axis=2).max() == 0
    assert np.unique(decode(tmp_path / "deep.png", 32, PLAIN)).tolist() == [round(40_000 * 255 / 65_535)]


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert np.unique(decode(tmp_path / "clear.png", 8, PLAIN)).tolist() == [255]


def test_what_is_no_picture_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.png").write_text("hello")
    halves().save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:90])
    for name in ("text.png", "cut.png", "missing.png"):
        with pytest.raises(MnsweepError, match=rf"{name}: is not a picture"):
            decode(tmp_path / name, 32, PLAIN)
    halves().save(tmp_path / "huge.png")
    monkeypatch.setattr("mnsweep.pictures.decode.MOST_PIXELS", 100)
    with pytest.raises(MnsweepError, match=r"huge\.png: has .* million pixels"):
        decode(tmp_path / "huge.png", 32, PLAIN)
    assert MOST_PIXELS > 40e6  # of a camera


@pytest.mark.parametrize(
    "settings", [{"crop": "middle"}, {"interpolation": "lanczos"}, {"std": 0.0}, {"mean": float("nan")}, {"std": float("inf")}]
)
def test_a_preprocessing_that_is_none_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(MnsweepError):
        Preprocessing(**settings)


def test_every_interpolation_is_one_of_pillow_s(tmp_path: Path) -> None:
    halves().save(tmp_path / "a.png")
    shades = {way: decode(tmp_path / "a.png", 33, Preprocessing(interpolation=way)).tobytes() for way in INTERPOLATIONS}
    assert len(set(shades.values())) == len(INTERPOLATIONS)


def test_a_stream_keeps_the_order_and_goes_on_after_a_broken_picture(tmp_path: Path) -> None:
    paths = []
    for number in range(2 * CHUNK + 3):
        paths.append(tmp_path / f"{number:03}.png")
        Image.new("RGB", (8, 8), (number, 0, 0)).save(paths[-1])
    paths[5].write_text("broken")
    with streaming(paths, 8, PLAIN, processes=2) as stream:
        chunks = list(stream)
    places = [place for chunk in chunks for place in chunk.places]
    assert places == [number for number in range(len(paths)) if number != 5]
    assert [int(pixels[0, 0, 0]) for chunk in chunks for pixels in chunk.pixels] == places
    assert [place for chunk in chunks for place in chunk.broken] == [5]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Class folders cat and dog, with 2 and 3 pictures, a hidden file, a text and an empty class."""
    for name, number in (("dog", 3), ("cat", 2)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(number):
            halves().save(tmp_path / "data" / name / f"{i}.png")
    (tmp_path / "data/cat/._0.png").write_text("macOS")
    (tmp_path / "data/notes").mkdir()
    (tmp_path / "data/notes/readme.txt").write_text("no picture")
    return tmp_path / "data"


def test_class_folders_are_numbered_by_name_or_matched_to_the_network(folder: Path) -> None:
    (folder / "notes/readme.txt").unlink()
    (folder / "notes").rmdir()
    found = find_pictures(folder)
    assert (found.labels, found.classes, len(found.paths)) == ((0, 0, 1, 1, 1), ("cat", "dog"), 5)
    assert find_pictures(folder, classes=("dog", "bird", "Cat")).labels == (2, 2, 0, 0, 0)
    with pytest.raises(MnsweepError, match="the class folder cat is none of"):
        find_pictures(folder, classes=("dog", "bird"))
    with pytest.raises(MnsweepError, match=r"2 class folders that the network has no class for, e\.g\. cat, and it has 3"):
        find_pictures(folder, classes=("a", "b", "c"))
    (folder / "Cat").mkdir()
    with pytest.raises(MnsweepError, match="twice"):
        find_pictures(folder)


def test_folders_with_numbers_are_those_classes(tmp_path: Path) -> None:
    for number in ("7", "12"):
        (tmp_path / number).mkdir()
        halves().save(tmp_path / number / "a.png")
    assert sorted(find_pictures(tmp_path, classes=[f"c{i}" for i in range(20)]).labels) == [7, 12]
    with pytest.raises(MnsweepError, match="the label 12 does not fit: the network has 10 classes"):
        find_pictures(tmp_path, classes=[f"c{i}" for i in range(10)])


def test_a_flat_folder_is_labelled_by_a_file(folder: Path, tmp_path: Path) -> None:
    flat, labels = folder / "dog", tmp_path / "labels.txt"
    assert find_pictures(flat).labels == (UNLABELLED,) * 3 and not find_pictures(flat).is_labelled
    labels.write_text("4\n0\n2\n")
    assert find_pictures(flat, labels).labels == (4, 0, 2)
    labels.write_text("1.png 9\n0.png 8\n2.png 7\n")
    assert find_pictures(flat, labels).labels == (8, 9, 7)
    labels.write_text("0.png dog\n1.png cat\n2.png Dog\n")
    assert find_pictures(flat, labels, ("cat", "dog")).labels == (1, 0, 1)
    for content, said in (
        ("1\n2\n", "2 lines for 3 pictures"),
        ("0.png 1\n1.png 1\n", "no line for 2.png"),
        ("0.png 1\n1.png 1\n2.png 1\n0.png 0\n", r"two labels for 0\.png"),
        ("0\n1\nbird\n", "'bird' is none of"),
    ):
        labels.write_text(content)
        with pytest.raises(MnsweepError, match=said):
            find_pictures(flat, labels, ("cat", "dog"))


def test_a_list_in_csv(folder: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("picture,label\ndata/cat/0.png,1\ndata/dog/0.png,0\n")
    found = find_pictures(listed)
    assert found.labels == (1, 0) and all(path.is_file() for path in found.paths)
    listed.write_text("file,class\na,1\n")
    for content, said in (
        ("file,class\na,1\n", "whose first line is picture,label"),
        ("", "whose first line is picture,label"),
        ("picture,label\n", "lists no pictures"),
        ("picture,label\ndata/cat/0.png,1\nnope.png,1\n", r"line 3: .*nope\.png: no such picture"),
    ):
        listed.write_text(content)
        with pytest.raises(MnsweepError, match=said):
            find_pictures(listed)
    with pytest.raises(MnsweepError, match="is a picture"):
        find_pictures(folder / "cat/0.png")
    listed.write_bytes("picture,label\n".encode("utf-16"))
    with pytest.raises(MnsweepError, match=r"`data` .*no text in UTF-8"):
        find_pictures(listed)


def test_a_folder_without_pictures_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MnsweepError, match=r"holds no pictures \(\.jpg"):
        find_pictures(folder / "notes")
    with pytest.raises(MnsweepError, match="no such folder"):
        find_pictures(tmp_path / "nothing")
    os.mkfifo(tmp_path / "data/dog/pipe.png")
    assert len(find_pictures(folder / "dog").paths) == 3
