"""Recipes: how a network is trained, as TOML files with a header (what, source, cost, result)."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from mnsweep.decoding import DamagedError, from_builtins, to_builtins
from mnsweep.errors import MnsweepError
from mnsweep.options import at_home

BUNDLED = ("modern", "paper", "finetune", "steady", "embed", "detect", "propose")
Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Below1: TypeAlias = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
Size: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Positive: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
Amount: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e6)]


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One recipe.

    - Optimizer: `optimizer` with `lr`, `momentum` (rmsprop, sgd), `weight_decay`, and `depthwise_decay` in its place for
      depthwise filters; norms and biases have none. Each layer below the
      classifier has `layer_decay` times the rate of the one above it.
    - Rate: `lr` is for the width `lr_alpha`, and inverse to the width for others (Yang et al. 2022, arXiv 2203.03466: Adam
      moves every weight by as much, so that wider layers change more); with 0, it is for all. It rises over `warm_up` epochs,
      then follows `schedule`: cosine to 0, `exponential` (times `decay` an epoch), constant.
    - Length: `epochs` of batches of `batch`; stops early after `patience` epochs without a better validation (0: never).
    - Batch norm: running statistics follow with `norm_momentum` (torch's convention), or stay as they are (`frozen_norm`).
    - Loss: cross entropy with `label_smoothing`; `mixup` is the parameter of the beta distribution (0: none). With a teacher,
      `teacher_weight` of the loss is the Kullback-Leibler divergence to its answers, both softened by `temperature`.
    - Detectors: `negatives` are weighted (`focal` loss) or `mined`, three for each positive, the worst first (SSD alone).
    - Averaging: `ema` is the decay of a moving average of the weights, which is what is kept (0: none).
    - Augmentation: shifts by a share `shift` of the side, zooms by up to `zoom`, turns by up to `turn` degrees, changes of
      brightness, contrast and colour by up to `colour`, mirroring (`flip`).
    - `bf16` runs in mixed precision. It is faster for wide networks on processors with bf16 arithmetic, and slower elsewhere.
    - With shared resolutions, `shared_epochs` × `shared_lr` of epochs and rate fine-tune each smaller resolution.
    - Quantization-aware fine-tuning: `quantized_epochs` epochs at `quantized_lr` × the rate.
    """

    optimizer: Literal["sgd", "adamw", "rmsprop"]
    lr: Positive
    lr_alpha: Annotated[float, msgspec.Meta(ge=0, le=2)] = 0.0
    momentum: Below1 = 0.9
    weight_decay: Amount = 0.0
    depthwise_decay: Amount = 0.0
    layer_decay: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    epochs: Size
    batch: Size
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    decay: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.97
    warm_up: Amount = 0.0
    patience: Count = 0
    norm_momentum: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    frozen_norm: bool = False
    label_smoothing: Below1 = 0.0
    mixup: Amount = 0.0
    teacher_weight: Share = 0.7
    temperature: Positive = 4.0
    negatives: Literal["focal", "mined"] = "focal"
    ema: Below1 = 0.0
    shift: Share = 0.0
    zoom: Below1 = 0.0
    turn: Annotated[float, msgspec.Meta(ge=0, le=180)] = 0.0
    colour: Below1 = 0.0
    flip: bool = False
    bf16: bool = False
    shared_epochs: Share = 0.35
    shared_lr: Positive = 0.3
    quantized_epochs: Size = 2
    quantized_lr: Positive = 0.02

    def at_width(self, alpha: float) -> "Recipe":
        """The recipe with the rate for networks of this width multiplier."""
        return msgspec.structs.replace(self, lr=self.lr * self.lr_alpha / alpha, lr_alpha=0.0) if self.lr_alpha else self

    def document(self) -> dict[str, Any]:
        """The settings by name."""
        document: dict[str, Any] = to_builtins(self)
        return document


KEYS = Recipe.__struct_fields__


def read_recipe(name: str, changes: str | None = None) -> Recipe:
    """The recipe of a name or a TOML file, with `changes` (`lr=0.01,epochs=5`) in place of its own settings.

    Raises `MnsweepError`, which names the recipe and the key.
    """
    text, where = _text(name)
    try:
        content = tomllib.loads(text)
    except ValueError as error:
        raise MnsweepError(f"{where}: is not TOML: {error}") from None
    return recipe_of({**content, **_changes(changes)}, where)


def recipe_of(content: Mapping[str, Any], where: str) -> Recipe:
    """The recipe with these settings. Raises `MnsweepError` for an unknown key or a bad value; `where` is named in it."""
    if unknown := [key for key in content if key not in KEYS]:
        raise MnsweepError(f"{where}: unknown key {unknown[0]!r:.60}", f"known keys are {', '.join(KEYS)}")
    try:
        return from_builtins(content, Recipe)
    except DamagedError as error:
        raise MnsweepError(f"{where}: {error.what}") from None


def _text(name: str) -> tuple[str, str]:
    if name in BUNDLED:
        return (files("mnsweep") / f"training/recipes/{name}.toml").read_text(encoding="utf-8"), f"`recipe` {name}"
    path = at_home(name)
    if not name.endswith(".toml"):
        raise MnsweepError(f"`recipe` {name!r:.60}: no such recipe", f"choose from {', '.join(BUNDLED)}, or name a .toml file")
    try:
        return Path(path).read_text(encoding="utf-8"), f"`recipe` {path}"
    except OSError as error:
        raise MnsweepError(f"`recipe` {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MnsweepError(f"`recipe` {path}: is no text in UTF-8") from None


def _changes(text: str | None) -> dict[str, Any]:
    """Settings written as `lr=0.01,epochs=5`."""
    found: dict[str, Any] = {}
    for item in text.split(",") if text else ():
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not key or not value:
            raise MnsweepError(f"`set` {item!r:.60}: is not KEY=VALUE", "write e.g. lr=0.01,epochs=5")
        if key not in KEYS:
            raise MnsweepError(f"`set` {item:.60}: unknown key {key!r:.60}", f"known keys are {', '.join(KEYS)}")
        found[key] = _value(value)
    return found


def _value(text: str) -> Any:
    """A number, true, false, or a word."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
