"""Augmentation of a whole batch at once, on tensors: one affine resampling, then changes of light and colour."""

import math

import torch
from torch.nn import functional

from mnsweep.training.recipe import Recipe


def augmented(images: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """(batch, 3, R, R) float pixels from 0 to 255 → the same, changed by the recipe; `generator` decides how.

    Pixels from outside the picture repeat its border.
    """
    count = len(images)
    if recipe.shift or recipe.zoom or recipe.turn or recipe.flip:
        grid = functional.affine_grid(_places(count, recipe, generator), list(images.shape), align_corners=False)
        images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    if recipe.colour:
        brightness, contrast, saturation = (1 + recipe.colour * _spread((count, 1, 1, 1), generator) for _ in range(3))
        middle, grey = images.mean((1, 2, 3), keepdim=True), images.mean(1, keepdim=True)
        # one linear map of each picture: saturation about its greys, contrast about its mean, then brightness
        images = images * (saturation * contrast * brightness)
        images = images + grey * ((1 - saturation) * contrast * brightness) + middle * ((1 - contrast) * brightness)
        images = images.clamp_(0, 255)
    return images


def _spread(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Uniform from −1 to 1."""
    return 2 * torch.rand(shape, generator=generator) - 1


def _places(count: int, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Affine matrices (count, 2, 3) from places in the result to places in the picture, both from −1 to 1."""
    turn = math.radians(recipe.turn) * _spread((count,), generator)
    zoom = torch.exp(math.log1p(recipe.zoom) * _spread((count,), generator))
    shift = 2 * recipe.shift * _spread((count, 2), generator)
    mirrored = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0) if recipe.flip else torch.ones(count)
    cos, sin = torch.cos(turn) * zoom, torch.sin(turn) * zoom
    return torch.stack(
        [torch.stack([cos * mirrored, -sin, shift[:, 0]], 1), torch.stack([sin * mirrored, cos, shift[:, 1]], 1)], 1
    )
