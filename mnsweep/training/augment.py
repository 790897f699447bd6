"""Augmentation of a whole batch at once, on tensors: one affine resampling, then changes of light and colour.

Boxes move with the pictures, by the same matrices.
"""

import math

import torch
from torch.nn import functional

from mnsweep.training.recipe import Recipe

LEAST_VISIBLE = 0.3  # of a box's area, once it is moved; one of which less is in the picture is neither found nor missed


def drawn_moves(count: int, recipe: Recipe, generator: torch.Generator) -> torch.Tensor | None:
    """How each picture is moved: matrices (count, 2, 3) from places in the result to places in the picture, −1 to 1.

    None where the recipe moves nothing.
    """
    moves = recipe.shift or recipe.zoom or recipe.turn or recipe.flip
    return _places(count, recipe, generator) if moves else None


def augmented(
    images: torch.Tensor, recipe: Recipe, generator: torch.Generator, moves: torch.Tensor | None = None
) -> torch.Tensor:
    """(batch, 3, R, R) float pixels from 0 to 255 → the same, moved, and changed in colour as `generator` decides.

    Pixels from outside the picture repeat its border.
    """
    count = len(images)
    if moves is not None:
        grid = functional.affine_grid(moves, list(images.shape), align_corners=False)
        images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    if recipe.colour:
        brightness, contrast, saturation = (1 + recipe.colour * _spread((count, 1, 1, 1), generator) for _ in range(3))
        middle, grey = images.mean((1, 2, 3), keepdim=True), images.mean(1, keepdim=True)
        # one linear map of each picture: saturation about its greys, contrast about its mean, then brightness
        images = images * (saturation * contrast * brightness)
        images = images + grey * ((1 - saturation) * contrast * brightness) + middle * ((1 - contrast) * brightness)
        images = images.clamp_(0, 255)
    return images


def moved_boxes(boxes: torch.Tensor, moves: torch.Tensor) -> torch.Tensor:
    """Boxes (batch, boxes, 6) of pictures that were moved: the rectangles around them, clipped to the picture.

    A box that is hardly visible becomes one of a crowd, which is neither found nor missed; one that left is no box any more.
    """
    top, left, bottom, right = boxes[..., :4].unbind(2)
    corners = torch.stack([torch.stack([x, y], 2) for x in (left, right) for y in (top, bottom)], 2) * 2 - 1
    back = torch.linalg.inv(moves[:, :, :2])
    placed = torch.einsum("bij,bncj->bnci", back, corners - moves[:, None, None, :, 2]) / 2 + 0.5
    low, high = placed.amin(2).flip(2), placed.amax(2).flip(2)  # (batch, boxes, 2): y, x
    inside = torch.cat([low, high], 2).clamp(0, 1)
    area, visible = (high - low).prod(2), (inside[..., 2:] - inside[..., :2]).prod(2)
    number = torch.where(visible > 0, boxes[..., 4], 0)
    crowd = torch.where(visible < LEAST_VISIBLE * area, 1.0, boxes[..., 5])
    return torch.cat([inside, number[..., None], crowd[..., None]], 2)


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
