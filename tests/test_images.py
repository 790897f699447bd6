"""What a network is calibrated on: pictures as it takes them, synthetic ones, and the values its maps take."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from mnsweep.arch.expand import expand
from mnsweep.cell import Design
from mnsweep.errors import MnsweepError
from mnsweep.graph.lowering import map_names
from mnsweep.graph.onnx_file import build_open_onnx
from mnsweep.graph.torch_net import to_torch
from mnsweep.graph.weights import Array, random_weights
from mnsweep.prepare.images import MOST_IMAGES, SYNTHETIC_IMAGES, read_images, synthetic_images
from mnsweep.worker.ranges import ranges
from tests.test_build import one_thread

__all__ = ["one_thread"]  # a fixture
NOISE = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)


def saved(folder: Path, pixels: NDArray[np.uint8], name: str = "picture.png", mode: str = "RGB") -> Path:
    Image.fromarray(pixels).convert(mode).save(folder / name)
    return folder


def only(folder: Path, resolution: int = 32) -> Array:
    (image,) = read_images(folder, resolution)
    return image


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1"])
@pytest.mark.parametrize("size", [(60, 60), (31, 90), (90, 31), (1, 1), (3, 700)])
def test_any_picture_becomes_a_batch_of_one(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    saved(tmp_path, np.resize(NOISE, (*size, 3)), "picture.tiff", mode)
    (tmp_path / "picture.tiff").rename(tmp_path / "picture.PNG")  # what it is decides, not what it is called
    image = only(tmp_path, 48)
    assert image.shape == (1, 3, 48, 48) and image.dtype == np.float32
    assert abs(image).max() <= 1


def test_black_is_minus_one_and_white_is_one_in_the_order_red_green_blue(tmp_path: Path) -> None:
    saved(tmp_path, np.full((40, 50, 3), (255, 0, 51), np.uint8))
    np.testing.assert_allclose(only(tmp_path)[0, :, 7, 9], [1, -1, -0.6], atol=1e-6)


def test_grey_is_the_same_in_all_channels(tmp_path: Path) -> None:
    image = only(saved(tmp_path, NOISE, mode="L"))
    assert (image[:, :1] == image).all() and image.std() > 0.1


@pytest.mark.parametrize(("height", "width"), [(400, 400), (400, 800), (800, 400)])
def test_seven_eighths_of_the_shorter_side_are_cut_from_the_centre(tmp_path: Path, height: int, width: int) -> None:
    """A white square of that size in a black picture fills the image; of a little less, it leaves a black edge."""
    edges = []
    for side in (350, 336):
        pixels = np.zeros((height, width, 3), np.uint8)
        top, left = (height - side) // 2, (width - side) // 2
        pixels[top : top + side, left : left + side] = 255
        image = only(saved(tmp_path, pixels), 64)[0, 0]
        assert image[2:-2, 2:-2].min() == 1
        edges.append([image[0, 32], image[-1, 32], image[32, 0], image[32, -1]])
    assert min(edges[0]) > 0.5 and max(edges[1]) < -0.5


def test_the_crop_is_centred_and_not_turned(tmp_path: Path) -> None:
    """Four colours that meet in the centre of a picture that is not square."""
    pixels = np.zeros((100, 160, 3), np.uint8)
    pixels[:50, :80], pixels[:50, 80:], pixels[50:, :80] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    image = only(saved(tmp_path, pixels))[0]
    corners = {(0, 0): (1, -1, -1), (0, -1): (-1, 1, -1), (-1, 0): (-1, -1, 1), (-1, -1): (-1, -1, -1)}
    assert {(y, x): tuple(image[:, y, x]) for y, x in corners} == corners
    halves = image[0, :, 0], image[0, 0, :]
    assert all((half > 0).sum() == 16 for half in halves)


def test_pictures_come_by_name_and_others_are_left_out(tmp_path: Path) -> None:
    for i, name in enumerate(["c.jpg", "a.png", "d.webp", "b.BMP"]):
        saved(tmp_path, np.full((40, 40, 3), 60 * i, np.uint8), name)
    (tmp_path / "a_note.txt").write_text("no picture")
    (tmp_path / "folder").mkdir()
    greys = [round(float(image.mean() + 1) * 127.5) for image in read_images(tmp_path, 32)]
    assert greys == pytest.approx([60, 180, 0, 120], abs=2)  # JPEG and WebP lose a little


def test_the_first_two_hundred_are_enough(tmp_path: Path) -> None:
    for i in range(MOST_IMAGES + 1):
        saved(tmp_path, np.full((1, 1, 3), 255 * (i == MOST_IMAGES), np.uint8), f"{i:03}.bmp")
    found = read_images(tmp_path, 32)
    assert len(found) == MOST_IMAGES == 200 and max(image.max() for image in found) == -1


def broken_png() -> bytes:
    """A picture whose data go on in a chunk that is none."""
    path = Path("big.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (250, 250, 3), np.uint8)).save(path)
    data = path.read_bytes()
    path.unlink()
    second = data.index(b"IDAT", data.index(b"IDAT") + 4)
    return data[:second] + b"\0DAT" + data[second + 4 :]


@pytest.mark.parametrize("content", ["nothing", "text", "cut", "broken chunk", "floats", "32 bits", "forbidden"])
def test_a_picture_that_can_not_be_read_is_named(tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = saved(tmp_path, NOISE) / "picture.png"
    cut = whole.read_bytes()[:2000]
    whole.unlink()
    if content in ("floats", "32 bits"):
        Image.fromarray(np.full((9, 9), 1e5, {"floats": np.float32, "32 bits": np.int32}[content])).save(whole, "TIFF")
    elif content == "forbidden":
        monkeypatch.setattr(Image, "open", forbid)
        whole.write_bytes(b"")
    else:
        whole.write_bytes({"nothing": b"", "text": b"Hello", "cut": cut, "broken chunk": broken_png()}[content])
    with pytest.raises(MnsweepError, match=r"`calibration` .*picture\.png: is not a picture that can be read") as caught:
        read_images(tmp_path, 32)
    assert "\n" not in str(caught.value)


def forbid(path: Path) -> None:
    raise PermissionError(13, "Permission denied", str(path))


@pytest.mark.parametrize("error", [IndexError("x"), KeyError(1), TypeError(), RecursionError(), MemoryError(), EOFError()])
def test_whatever_pillow_raises_it_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(path: Path) -> None:
        raise error

    saved(tmp_path, NOISE)
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(MnsweepError, match=r"picture\.png: is not a picture"):
        only(tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "big-endian TIFF", "32-bit TIFF"])
def test_grey_of_16_bits_is_scaled(tmp_path: Path, kind: str) -> None:
    """From black over 40 % grey to white: Pillow itself would make all but black white."""
    pixels = np.zeros((48, 48), np.uint16)
    pixels[:, 16:32], pixels[:, 32:] = 0.4 * 65535, 65535
    picture = Image.fromarray(pixels)
    if kind == "32-bit TIFF":  # mode I, as older versions of Pillow open 16-bit pictures
        picture = Image.fromarray(pixels.astype(np.int32))
    if kind == "big-endian TIFF":
        picture = Image.frombytes("I;16B", (48, 48), pixels.astype(">u2").tobytes())
    picture.save(tmp_path / "grey.png", "PNG" if "PNG" in kind else "TIFF" if "TIFF" in kind else "PPM")
    image = only(tmp_path, 48)
    assert (image[:, :1] == image).all()
    assert [image[0, 0, 24, x] for x in (5, 24, 42)] == pytest.approx([-1, -0.2, 1], abs=0.01)


def test_what_only_looks_like_a_picture_is_left_out(tmp_path: Path) -> None:
    """A folder, a pipe (which would never end), hidden files of macOS, links to nothing and to a device."""
    saved(tmp_path, np.full((40, 40, 3), 255, np.uint8), "cat.png")
    (tmp_path / "a.jpg").mkdir()
    (tmp_path / "._cat.jpg").write_bytes(b"\0\5\x16\7Mac OS X")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
    assert only(tmp_path).min() == 1


def test_a_folder_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MnsweepError, match="File name too long"):
        read_images(tmp_path / ("x" * 300), 32)
    monkeypatch.setattr(Path, "iterdir", forbid)
    with pytest.raises(MnsweepError, match="Permission denied"):
        read_images(tmp_path, 32)


@pytest.mark.parametrize("damage", range(8))
def test_whatever_is_wrong_with_a_picture_it_is_said_in_one_line(tmp_path: Path, damage: int) -> None:
    rng = np.random.default_rng(damage)
    data = bytearray((saved(tmp_path, NOISE) / "picture.png").read_bytes())
    for _ in range(40):
        damaged = data.copy()
        for at in rng.integers(0, 60, 3):
            damaged[at] = rng.integers(256)
        (tmp_path / "picture.png").write_bytes(damaged)
        try:
            assert only(tmp_path).shape == (1, 3, 32, 32)
        except MnsweepError as error:
            assert "picture.png" in str(error)


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(MnsweepError, match=rf"`calibration` {tmp_path}: holds no pictures \(\.jpg, "):
        read_images(tmp_path, 32)
    with pytest.raises(MnsweepError, match=r"`calibration` .*/nowhere: no such folder"):
        read_images(tmp_path / "nowhere", 32)
    (tmp_path / "file.png").write_bytes(b"")
    with pytest.raises(MnsweepError, match=r"`calibration` .*/file\.png: no such folder"):
        read_images(tmp_path / "file.png", 32)


@given(st.integers(32, 200), st.integers(0, 5))
@settings(max_examples=20)
def test_synthetic_images_are_seeded_colour_noise(resolution: int, seed: int) -> None:
    found, again = (np.concatenate(synthetic_images(resolution, seed=seed)) for _ in range(2))
    assert found.shape == (SYNTHETIC_IMAGES, 3, resolution, resolution) and found.dtype == np.float32
    assert (found == again).all()
    assert abs(found).max() <= 1 and found.std() > 0.3
    assert len({image.tobytes() for image in found}) == SYNTHETIC_IMAGES
    assert abs(found - np.concatenate(synthetic_images(resolution, seed=seed + 1))).max() > 0.1


def test_synthetic_images_are_coarse_as_well_as_fine() -> None:
    """Neighbours in one tile have the tile's colour in common; neighbours in two have nothing."""
    image = np.concatenate(synthetic_images(128))
    within = np.corrcoef(image[..., 2].ravel(), image[..., 3].ravel())[0, 1]
    across = np.corrcoef(image[..., 7].ravel(), image[..., 8].ravel())[0, 1]
    assert within > 0.35 and abs(across) < 0.15


@pytest.mark.parametrize("activation", ["relu6", "relu"])
def test_ranges_are_the_least_and_greatest_values_that_torch_sees(activation: str) -> None:
    layers = expand(Design.of(0.3, 40, classes=10, activation=activation))
    weights, images = random_weights(layers), synthetic_images(40)
    seen: dict[str, list[torch.Tensor]] = {"image": [torch.from_numpy(image) for image in images]}

    def note(name: str, module: nn.Module) -> None:
        module.register_forward_hook(lambda _, __, out: seen.setdefault(name, []).append(out))

    net = to_torch(layers, weights)
    for name, module in net.parts.items():
        note(name, module)
    with torch.inference_mode():
        for image in images:
            net(torch.from_numpy(image))
    expected = {
        name: (min(float(v.min()) for v in values), max(float(v.max()) for v in values)) for name, values in seen.items()
    }
    found = ranges(build_open_onnx(layers, weights), images)
    assert set(found) == {*map_names(layers), "logits"}
    for name, ends in found.items():
        assert ends == pytest.approx(expected[name.replace("logits", "classifier")], abs=1e-4)
    assert len({round(high, 3) for _, high in found.values()}) > 5
