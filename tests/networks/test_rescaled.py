from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import (
    Graph,
    InputScaling,
    LayerSpec,
    Networks,
    PoolSpec,
    forward_features,
    forward_hidden,
    forward_means,
    mlp,
    rescaled,
    run,
    scaling_preset,
    small_cnn,
    to_module,
)

SYMMETRIC = scaling_preset("symmetric")
COLOURED = InputScaling(low=-0.5, high=2.0, mean=(0.485, 0.456, -0.406), deviation=(0.229, 1.5, 0.225))
GRAPHS = (
    small_cnn(input_shape=(3, 9, 8), channels=(4, 5), num_classes=3),
    Graph.of_layers(
        input_shape=(3, 9, 8),
        layers=(
            LayerSpec(kind="conv", in_channels=3, out_channels=4, kernel=(3, 2), padding=(2, 1), dilation=(2, 1)),
            LayerSpec(kind="conv", in_channels=4, out_channels=2, kernel=(1, 1), pool=PoolSpec(kind="global")),
        ),
    ),
    Graph.of_layers(
        input_shape=(3, 4, 4), layers=(LayerSpec(kind="linear", in_channels=3, out_channels=5, kernel=(4, 4)),)
    ),
    mlp((3, 6, 2), "tanh"),
)


def read(scaling: InputScaling, units: torch.Tensor) -> torch.Tensor:
    """Images of u in [0, 1] as a network of a scaling reads them."""
    gains, offsets = (units.new_tensor(each) for each in scaling.affine(3))
    shape = (-1, *(1 for _ in units.shape[2:]))
    return units * gains.view(shape) + offsets.view(shape)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("scaling", [scaling_preset("unit"), scaling_preset("byte"), COLOURED])
def test_the_function_of_pixels_stays_to_the_border(
    graph: Graph, scaling: InputScaling, networks_of: Callable[..., Networks]
) -> None:
    own = networks_of(graph, 3).with_scaling(scaling)
    shown = rescaled(own, SYMMETRIC)
    assert shown.graph.input_scaling == SYMMETRIC
    assert shown.graph.architecture == own.graph.architecture
    units = torch.rand(5, *graph.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    theirs, symmetric = read(scaling, units), read(SYMMETRIC, units)
    expected, each = run(own, theirs), symmetric.expand(3, *symmetric.shape)
    torch.testing.assert_close(run(shown, symmetric), expected)
    torch.testing.assert_close(run(shown, each), expected)
    torch.testing.assert_close(run(shown, symmetric, chunk_size=2), expected)
    torch.testing.assert_close(forward_hidden(shown, symmetric), forward_hidden(own, theirs))
    torch.testing.assert_close(forward_means(shown, symmetric), forward_means(own, theirs))
    if len(graph.chain.layers) > 1:
        torch.testing.assert_close(forward_features(shown, symmetric), forward_features(own, theirs))
    assert torch.equal(shown.flat(), own.flat())
    assert (run(own, symmetric) - expected).abs().max() > 1e-3


def test_gradients_go_to_weights_and_images(networks_of: Callable[..., Networks]) -> None:
    shown = rescaled(networks_of(GRAPHS[0], 2).with_scaling(COLOURED), SYMMETRIC)
    images = torch.rand(2, 3, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def logits(weight: torch.Tensor, bias: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        networks = Networks.from_layers(shown.graph, (weight, *shown.weights[1:]), (bias, *shown.biases[1:]))
        return run(networks, pixels)

    inputs = [tensor.detach().requires_grad_() for tensor in (shown.weights[0], shown.biases[0], images)]
    assert torch.autograd.gradcheck(logits, inputs)


def test_networks_of_the_scaling_are_left_alone(networks_of: Callable[..., Networks]) -> None:
    own = networks_of(GRAPHS[0], 2).with_scaling(InputScaling(mean=(0.5,), deviation=(0.5,)))
    assert rescaled(own, SYMMETRIC) is own


def test_what_cannot_be_rescaled(networks_of: Callable[..., Networks]) -> None:
    own = networks_of(GRAPHS[0], 2)
    with pytest.raises(ZoovetError, match="do not say which input scaling they read"):
        rescaled(own, SYMMETRIC)
    with pytest.raises(ZoovetError, match="is for 2 channels, but images have 3"):
        own.with_scaling(InputScaling(mean=(0.1, 0.2)))
    shown = rescaled(own.with_scaling(COLOURED), SYMMETRIC)
    with pytest.raises(ZoovetError, match="images of another scaling than it reads; convert the network itself"):
        to_module(shown[0])
