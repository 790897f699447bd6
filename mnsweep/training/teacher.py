"""Teachers: networks whose answers to the very same crops a student learns from (Hinton et al. 2015, arXiv 1503.02531)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from mnsweep.accuracy.scores import Probabilities
from mnsweep.arch.expand import expand
from mnsweep.errors import MnsweepError
from mnsweep.graph.integers import Integers, dequantized
from mnsweep.graph.torch_net import to_torch
from mnsweep.importing.read import READERS, import_file
from mnsweep.importing.trained import Trained
from mnsweep.pictures.pixels import Pixels
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.training.objectives.objective import Teacher
from mnsweep.wording import count_of

LEAST_PROBABILITY = 1e-8
TORCHSCRIPT = (".ts", ".torchscript", ".pt", ".pth")


def open_teacher(path: Path, classes: int, resolution: int, own: Preprocessing) -> Teacher:
    """The network of a file as a function of the student's input: weights, or any TorchScript module with such an input.

    `own` is how the student's input is made of pixels; weights may want it in another range. Raises `MnsweepError` where it
    can't be read, or has other classes.
    """
    try:
        trained = import_file(path) if path.suffix.lower() in READERS else None
    except MnsweepError:
        if path.suffix.lower() not in TORCHSCRIPT:
            raise
        trained = None
    net = _network(trained) if trained else _script(path)
    its = trained.preprocessing if trained else own
    factor, offset = own.std / its.std, (own.mean - its.mean) / its.std

    @torch.no_grad()
    def answer(images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = net(images * factor + offset)
        return logits

    _check(path, answer, classes, resolution)
    return answer


def of_pixels(
    outputs: Callable[[Pixels], Probabilities],
    path: Path,
    classes: int,
    resolution: int,
    own: Preprocessing,
    *,
    chooses: bool = True,
) -> Teacher:
    """A function of pixels (n, R, R, 3) that gives outputs (n, classes), as a function of the student's input.

    Where its answer `chooses` a class, the outputs are probabilities, and become logits. Crops are rounded to pixels, and
    scaled to `resolution` where the student's is another. Raises `MnsweepError` where it has other outputs.
    """

    @torch.no_grad()
    def answer(images: torch.Tensor) -> torch.Tensor:
        if images.shape[-1] != resolution:
            images = functional.interpolate(images, (resolution, resolution), mode="bilinear", antialias=True)
        pixels = (images * own.std + own.mean).round().clamp(0, 255).to(torch.uint8)
        found = torch.from_numpy(outputs(np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())))
        return found.clamp_min(LEAST_PROBABILITY).log() if chooses else found  # logits but for a constant

    _check(path, answer, classes, resolution)
    return answer


def _network(trained: Trained) -> torch.nn.Module:
    layers, weights = trained.layers(), trained.weights
    if isinstance(weights, Integers):
        weights = dequantized(layers, weights)
    return to_torch(layers if weights.is_folded else expand(trained.design), weights)


def _script(path: Path) -> torch.nn.Module:
    try:
        module: torch.nn.Module = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except Exception:  # torch's reader raises nearly anything
        kinds = ", ".join(dict.fromkeys((*READERS, *TORCHSCRIPT[:2])))
        fix = f"name weights of a MobileNet ({kinds}), or a TorchScript module"
        raise MnsweepError(f"`teacher` {path}: is no network that can be read", fix) from None
    return module


def _check(path: Path, answer: Teacher, classes: int, resolution: int) -> None:
    try:
        found = answer(torch.zeros(2, 3, resolution, resolution))
    except Exception as error:
        reason = (str(error).splitlines() or ["it fails"])[0]
        raise MnsweepError(
            f"`teacher` {path}: does not take images (batch, 3, {resolution}, {resolution}): {reason:.200}"
        ) from None
    if tuple(getattr(found, "shape", ())) != (2, classes):
        has = count_of(int(found.shape[1]), "output") if getattr(found, "ndim", 0) == 2 else "other outputs"
        raise MnsweepError(f"`teacher` {path}: has {has}, the student has {classes}", "train it for the same task first")
