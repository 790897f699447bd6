"""Ranges of feature maps, and training through the rounding of int8 arithmetic (quantization-aware fine-tuning).

The forward pass rounds weights and feature maps as the deployed int8 graph does (`graph/quantize.py`), with torch's own
fake-quantize operators, whose gradients pass straight through. Source: Jacob et al. 2018 (arXiv 1712.05877), section 3.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch.func import functional_call

from mnsweep.arch.layer import IMAGE
from mnsweep.graph.lowering import Range
from mnsweep.graph.quantize import LEAST, MOST, map_scale
from mnsweep.graph.torch_net import TorchNet, from_torch, to_torch
from mnsweep.graph.weights import Weights, folded_arrays, folded_layers
from mnsweep.pictures.pixels import Pixels
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.training.loop import normalized

BATCH = 256  # pictures at once
TINY = 1e-30  # the smallest scale of a channel of weights


def folded_net(net: TorchNet) -> TorchNet:
    """The same network with batch norm folded into its filters and biases."""
    weights = from_torch(net)
    layers = folded_layers(net.layers)
    return to_torch(layers, Weights(folded_arrays(net.layers, weights), weights.epsilon, is_folded=True))


def folded_weights(net: TorchNet) -> Weights:
    """The arrays of a network that `folded_net` made."""
    return replace(from_torch(net), is_folded=True)


@torch.no_grad()
def observed_ranges(net: TorchNet, pixels: Pixels, preprocessing: Preprocessing) -> dict[str, Range]:
    """(minimum, maximum) of the image and of each layer's output over pixels (n, R, R, 3), with `net` in eval mode."""
    ranges: dict[str, Range] = {}

    def widen(name: str, values: torch.Tensor) -> None:
        low, high = (float(end) for end in values.aminmax())
        known = ranges.get(name, (low, high))
        ranges[name] = (min(low, known[0]), max(high, known[1]))

    hooks = [
        net.parts[layer.name].register_forward_hook(lambda _, __, output, name=layer.name: widen(name, output))
        for layer in net.layers
    ]
    try:
        for start in range(0, len(pixels), BATCH):
            images = torch.from_numpy(pixels[start : start + BATCH]).permute(0, 3, 1, 2).float()
            images = normalized(images, preprocessing)
            widen(IMAGE, images)
            net(images)
    finally:
        for hook in hooks:
            hook.remove()
    low, high = preprocessing.range
    return {**ranges, IMAGE: (min(low, high), max(low, high))}


class Rounded:
    """A folded network that rounds as its int8 file does: a function of images (batch, 3, R, R) that gives logits."""

    def __init__(self, net: TorchNet, ranges: Mapping[str, Range], weight_bits: int) -> None:
        self.net, self.most = net, 2 ** (weight_bits - 1) - 1
        self.scales = {name: map_scale(*ends) for name, ends in ranges.items()}

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Run the layers in order."""
        maps = {IMAGE: self._map(IMAGE, image)}
        for layer in self.net.layers:
            part, inputs = self.net.parts[layer.name], tuple(maps[name] for name in layer.inputs)
            output = functional_call(part, self._parameters(part), inputs)
            is_last = layer is self.net.layers[-1]
            maps[layer.name] = output if is_last else self._map(layer.name, output)
        return maps[self.net.layers[-1].name]

    def _map(self, name: str, values: torch.Tensor) -> torch.Tensor:
        scale, zero_point = self.scales[name]
        return torch.fake_quantize_per_tensor_affine(values, float(scale), int(zero_point), LEAST, MOST)

    def _parameters(self, part: torch.nn.Module) -> dict[str, torch.Tensor]:
        return {name: self._filters(p) if p.ndim > 1 else p for name, p in part.named_parameters()}

    def _filters(self, weight: torch.Tensor) -> torch.Tensor:
        scale = (weight.detach().flatten(1).abs().amax(1) / self.most).clamp_min(TINY)
        zero_point = torch.zeros(len(scale), dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero_point, 0, -self.most, self.most)
