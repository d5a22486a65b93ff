"""Usual chains: the published zoos' small CNN, multilayer perceptrons, SIRENs."""

from __future__ import annotations

from zoovet.networks.graph import Graph
from zoovet.networks.layer_spec import LayerSpec, PoolSpec

__all__ = ["mlp", "siren", "small_cnn"]


def small_cnn(
    activation: str = "relu",
    *,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    channels: tuple[int, ...] = (16, 16, 16),
    num_classes: int = 10,
) -> Graph:
    """The published zoos' small CNN: 3×3 convolutions of stride 2 and padding 1, global average pooling, linear.

    With the default channels, one input channel and ten classes it has 4,970 parameters.
    Source: Unterthiner et al. 2020, *Predicting Neural Network Accuracy from Weights*, section 3.
    """
    sizes = (input_shape[0], *channels)
    layers = [
        LayerSpec(
            kind="conv",
            in_channels=sizes[index],
            out_channels=sizes[index + 1],
            kernel=(3, 3),
            stride=(2, 2),
            padding=(1, 1),
            activation=activation,
            pool=PoolSpec(kind="global") if index == len(channels) - 1 else None,
        )
        for index in range(len(channels))
    ]
    layers.append(LayerSpec(kind="linear", in_channels=sizes[-1], out_channels=num_classes))
    return Graph.of_layers(input_shape=input_shape, layers=tuple(layers))


def mlp(sizes: tuple[int, ...], activation: str = "relu", *, activation_parameter: float | None = None) -> Graph:
    """A multilayer perceptron from ``sizes[0]`` features to ``sizes[-1]`` outputs; the last layer has no activation."""
    last = len(sizes) - 2
    layers = tuple(
        LayerSpec(kind="linear", in_channels=sizes[index], out_channels=sizes[index + 1])
        if index == last
        else LayerSpec(
            kind="linear",
            in_channels=sizes[index],
            out_channels=sizes[index + 1],
            activation=activation,
            activation_parameter=activation_parameter,
        )
        for index in range(len(sizes) - 1)
    )
    return Graph.of_layers(input_shape=(sizes[0],), layers=layers)


def siren(sizes: tuple[int, ...] = (2, 32, 32, 1), w0: float = 30.0) -> Graph:
    """A SIREN: an MLP with hidden activation sin(w0 · x) that maps a coordinate to a value (Sitzmann et al. 2020)."""
    return mlp(sizes, "sine", activation_parameter=w0)
