"""The optimizer of a recipe, with its groups of parameters, and the rate at each step."""

import math

import torch
from torch import nn

from mnsweep.graph.torch_net import TorchNet
from mnsweep.training.recipe import Recipe

RMSPROP_DECAY, RMSPROP_EPSILON = 0.9, 1.0  # Szegedy et al. 2015, section 8
FACTOR = "factor"  # of the rate, in a group


def optimizer_of(net: TorchNet, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer; each group of parameters has its weight decay, and its factor of the rate under `factor`."""
    groups = _groups(net, recipe)
    match recipe.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
        case "rmsprop":
            return torch.optim.RMSprop(groups, recipe.lr, RMSPROP_DECAY, RMSPROP_EPSILON, momentum=recipe.momentum)
        case "adamw":
            return torch.optim.AdamW(groups, recipe.lr)


def _groups(net: TorchNet, recipe: Recipe) -> list[dict[str, object]]:
    """Filters, depthwise filters, and all that has no decay; each layer apart where the rate falls with depth."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    weighted = [layer for layer in net.layers if layer.weight_shape]
    for place, layer in enumerate(reversed(weighted)):
        factor = recipe.layer_decay**place
        for parameter in net.parts[layer.name].parameters():
            decay = 0.0 if parameter.ndim < 2 else recipe.depthwise_decay if layer.groups > 1 else recipe.weight_decay
            groups.setdefault((decay, factor), []).append(parameter)
    return [{"params": parameters, "weight_decay": decay, FACTOR: factor} for (decay, factor), parameters in groups.items()]


def rate_at(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """The learning rate of a step, from 0: it rises linearly over the warm-up, then follows the schedule."""
    warm = recipe.warm_up * steps_per_epoch
    total = recipe.epochs * steps_per_epoch
    if step < warm:
        return recipe.lr * (step + 1) / (math.floor(warm) + 1)
    match recipe.schedule:
        case "cosine":
            return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
        case "exponential":
            return recipe.lr * float(recipe.decay ** ((step - warm) / steps_per_epoch))
        case "constant":
            return recipe.lr


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group[FACTOR]
