"""The network that a training starts from: random weights, or those of another network with a new classifier."""

import torch
from torch import nn

from mnsweep.arch.expand import expand
from mnsweep.cell import Design
from mnsweep.graph.torch_net import TorchNet, from_torch, to_torch
from mnsweep.graph.weights import TF_EPSILON, Weights, shapes


def fresh_net(design: Design, seed: int) -> TorchNet:
    """The network with He-scaled filters, seeded, in training mode."""
    with torch.random.fork_rng(devices=[]):  # the user's own generator stays as it is
        torch.manual_seed(seed)
        net = TorchNet(expand(design), TF_EPSILON)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)
    return net


def net_from(design: Design, weights: Weights, seed: int) -> tuple[TorchNet, bool]:
    """The network with these `weights`, and whether its classifier is new: of another number of classes, or missing.

    A design of another resolution has the same arrays. Raises `MnsweepError` where the arrays are of another design.
    """
    layers = expand(design)
    head = shapes(layers[-1])
    is_new = any(name not in weights.arrays or weights.arrays[name].shape != shape for name, shape in head.items())
    arrays = dict(weights.arrays)
    if is_new:
        fresh = fresh_net(design, seed).parts[layers[-1].name]
        arrays |= {f"{layers[-1].name}.{name.rpartition('.')[2]}": p.detach().numpy() for name, p in fresh.named_parameters()}
    return to_torch(layers, Weights(arrays, weights.epsilon)).train(), is_new


def weights_of(net: TorchNet, state: dict[str, torch.Tensor]) -> Weights:
    """The arrays of another state of the network, which stays as it is."""
    own = {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(state)
    weights = from_torch(net)
    net.load_state_dict(own)
    return weights
