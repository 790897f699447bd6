"""The network that a training starts from: random weights, or those of another network with a new classifier."""

import torch
from torch import nn

from mnsweep.arch.expand import expand
from mnsweep.arch.mobilenet import body
from mnsweep.cell import Design
from mnsweep.graph.torch_net import Conv, TorchNet, from_torch, to_torch
from mnsweep.graph.weights import TF_EPSILON, Weights, shapes
from mnsweep.names import VARIANTS

PREDICTOR_DEVIATION, CLASS_BIAS = 0.03, -4.6


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
        _start_predictors(net)
    return net


def _start_predictors(net: TorchNet) -> None:
    """Small weights for what predicts boxes, and in an SSD the class biases of focal loss: nearly all is nothing.

    Source: `conv_hyperparams` (0.03) and `class_prediction_bias_init` of the object detection API's SSD configurations.
    """
    for layer in net.layers:
        part = net.parts[layer.name]
        if isinstance(part, Conv) and layer.bias and layer.activation == "none" and net.layers[-1].op != "linear":
            nn.init.normal_(part.conv.weight, std=PREDICTOR_DEVIATION)
            if part.conv.bias is not None:
                is_ssd_score = net.layers[-1].op == "ssd_detections" and layer.name.startswith("scores")
                nn.init.constant_(part.conv.bias, CLASS_BIAS if is_ssd_score else 0.0)


def net_from(design: Design, weights: Weights, seed: int) -> tuple[TorchNet, bool]:
    """The network with these `weights`, and whether its head is new: of another task or number of classes, or missing.

    A design of another resolution has the same arrays. Raises `MnsweepError` where the arrays are of another design.
    """
    layers = expand(design)
    of_body = {layer.name for layer in (layers[:-1] if VARIANTS[design.variant].compares else body(design))}
    new = [
        name
        for layer in layers
        if layer.name not in of_body
        for name, shape in shapes(layer).items()
        if name not in weights.arrays or weights.arrays[name].shape != shape
    ]
    arrays = dict(weights.arrays)
    if new:
        fresh = from_torch(fresh_net(design, seed)).arrays
        arrays |= {name: fresh[name] for name in new}
    return to_torch(layers, Weights(arrays, weights.epsilon)).train(), bool(new)


def weights_of(net: TorchNet, state: dict[str, torch.Tensor]) -> Weights:
    """The arrays of another state of the network, which stays as it is."""
    own = {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(state)
    weights = from_torch(net)
    net.load_state_dict(own)
    return weights
