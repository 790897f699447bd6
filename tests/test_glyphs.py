"""The generated data set: seeded, varied, and told apart by its letters."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mnsweep.pictures.folders import find_pictures
from mnsweep.pictures.glyphs import LETTERS, glyph
from tests.test_cli import Run, assert_refused, run

__all__ = ["run"]


@given(st.sampled_from(LETTERS), st.integers(32, 160), st.integers(0, 2**31 - 1), st.integers(0, 1), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_a_picture_depends_on_its_key_alone(letter: str, size: int, seed: int, split: int, number: int) -> None:
    picture = glyph(letter, size, (seed, split, number))
    assert picture.size == (size, size) and picture.mode == "RGB"
    assert picture.tobytes() == glyph(letter, size, (seed, split, number)).tobytes()
    assert picture.tobytes() != glyph(letter, size, (seed, 1 - split, number)).tobytes()
    assert np.asarray(picture).std() > 5  # there is something to see


def test_the_letter_is_what_differs_between_classes() -> None:
    """The same key draws the same ground and clutter: only where the letter lies may pixels differ, and there they do."""
    one, other = (np.asarray(glyph(letter, 96, (1, 0, 3)), int) for letter in "AB")
    differs = np.abs(one - other).max(axis=2) > 40
    assert 0.003 < differs.mean() < 0.5


def test_the_command_writes_class_folders(run: Run, tmp_path: Path) -> None:
    made = run("data", "glyphs", "g", "--images", "64", "--validation", "32", "--size", "48", "--json")
    assert made.code == 0 and made.json["images"] == 64, made.err
    train, validation = (find_pictures(tmp_path / "g" / split) for split in ("train", "val"))
    assert train.classes == validation.classes == tuple(LETTERS)
    assert (len(train.paths), len(validation.paths)) == (64, 32)
    assert {train.labels.count(label) for label in range(16)} == {4}
    with Image.open(train.paths[0]) as picture:
        assert picture.size == (48, 48)
    assert run("data", "glyphs", "h", "--images", "64", "--validation", "32", "--size", "48", "-q").code == 0
    again = find_pictures(tmp_path / "h" / "train")
    assert [path.read_bytes() for path in again.paths] == [path.read_bytes() for path in train.paths]


@pytest.mark.parametrize(
    "arguments, said",
    [(("letters", "x"), "no such data set"), (("glyphs", "."), "is not empty"), (("glyphs", "file/x"), "Not a directory")],
)
def test_what_can_not_be_made_is_one_line(run: Run, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / "file").write_text("a file")
    assert_refused(run("data", *arguments, "-q"), said)
    assert (tmp_path / "file").read_text() == "a file" and not (tmp_path / "x").exists()
