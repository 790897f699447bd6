"""How a picture becomes a network's input: part of a trained network as much as its weights are.

Two networks for the same task may take 0 … 1 and −1 … 1, and answer each other's input without an error.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from mnsweep.errors import MnsweepError

CROPS = {
    "squash": "the whole picture, scaled to a square (Keras, TensorFlow Lite's examples)",
    "slim": "the middle 87.5 % of each side, scaled to a square (TF-slim's evaluation)",
    "centre": "the middle square of 87.5 % of the shorter side (MLPerf)",
    "timm": "the shorter side scaled to 8/7 of the resolution, then the middle square",
}
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Input value = (pixel − `mean`) / `std`, with pixels from 0 to 255 in RGB order; cropped by one of `CROPS`.

    The defaults are those of all public MobileNets: −1 … 1. Raises `MnsweepError` on an unknown word and on a `std` of 0.
    """

    mean: float = 127.5
    std: float = 127.5
    crop: str = "squash"
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        for name, known in (("crop", tuple(CROPS)), ("interpolation", INTERPOLATIONS)):
            if getattr(self, name) not in known:
                raise MnsweepError(f"`{name}` {getattr(self, name)!r:.40} is unknown", f"choose from {', '.join(known)}")
        if not (abs(self.mean) < 1e6 and 1e-6 < abs(self.std) < 1e6):
            raise MnsweepError(f"pixels (x − {self.mean:g}) / {self.std:g}: no network takes such values")

    @property
    def range(self) -> tuple[float, float]:
        """The input values of black and white."""
        return tuple(round((pixel - self.mean) / self.std, 6) for pixel in (0, 255))  # type: ignore[return-value]

    def document(self) -> dict[str, Any]:
        """The settings for people and programs, with the layout, the colour order and the range that follow from them."""
        return {"layout": "NCHW", "colour": "RGB", "range": list(self.range), **asdict(self)}


def from_document(document: Mapping[str, Any], kept: Preprocessing | None = None) -> Preprocessing:
    """The settings from what `document` gave; those that are missing are `kept`. Raises `MnsweepError` on a bad value."""
    known = {name: document[name] for name in ("crop", "interpolation") if name in document}
    try:
        known |= {name: float(document[name]) for name in ("mean", "std") if name in document}
    except (TypeError, ValueError):
        raise MnsweepError("preprocessing: mean and std must be numbers") from None
    return replace(kept or Preprocessing(), **known)
