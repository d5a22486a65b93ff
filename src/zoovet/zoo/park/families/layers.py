"""LayerBuilder: a graph written down layer by layer: convolutions, norms, activations, poolings, linear layers."""

from __future__ import annotations

import math

from zoovet.networks import Graph, GraphBuilder

__all__ = ["ACTIVATIONS", "NORMS", "LayerBuilder", "num_layers"]

ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "tanh", "sigmoid", "silu", "gelu")
NORMS = ("batch", "group", "none")

_CHANNELS_OF_GROUP = 4
"""Channels that a group norm normalizes together, or a few more where their number is no multiple of it."""

_SMALLEST_POOLED = 4
"""Maps of fewer pixels a side are not made smaller."""


class LayerBuilder(GraphBuilder):
    """A :class:`~zoovet.networks.GraphBuilder` that knows the layers of image classifiers.

    Each method adds a layer behind a site and returns the site that it makes.

    Args:
        input_shape: ``(channels, height, width)`` of an image.
        norm: One of :data:`NORMS`: what stands behind convolutions.
        activation: One of :data:`ACTIVATIONS`.
    """

    def __init__(self, input_shape: tuple[int, ...], norm: str, activation: str) -> None:
        super().__init__(input_shape)
        self._norm, self._activation, self._count = norm, activation, 0

    def channels(self, site: str) -> int:
        """Channels, or features, of a site."""
        return self.site(site).shape[0]

    def side(self, site: str) -> int:
        """The shorter side of a site's maps, in pixels."""
        return min(self.site(site).shape[1:])

    def may_shrink(self, site: str) -> bool:
        """Whether a site's maps are large enough to be halved."""
        return self.side(site) >= _SMALLEST_POOLED

    def conv(
        self, site: str, channels: int, kernel: int = 3, stride: int = 1, *, groups: int = 1, bias: bool | None = None
    ) -> str:
        """A convolution whose padding keeps the size; it has a bias where no norm follows, unless told otherwise."""
        name = self._named("conv")
        has_bias = self._norm == "none" if bias is None else bias
        weight = (channels, self.channels(site) // groups, kernel, kernel)
        roles = {"weight": self.parameter(f"{name}.weight", weight)}
        if has_bias:
            roles["bias"] = self.parameter(f"{name}.bias", (channels,))
        return self.add(
            "conv2d",
            site,
            name=name,
            parameters=roles,
            stride=(stride, stride),
            padding=(kernel // 2,) * 4,
            groups=groups,
        )

    def norm(self, site: str) -> str:
        """A norm, where the network has norms."""
        if self._norm == "none":
            return site
        name, channels = self._named("norm"), (self.channels(site),)
        roles = {role: self.parameter(f"{name}.{role}", channels) for role in ("weight", "bias")}
        if self._norm == "group":
            num_groups = math.gcd(channels[0], max(1, channels[0] // _CHANNELS_OF_GROUP))
            return self.add("group_norm", site, name=name, parameters=roles, num_groups=num_groups)
        for role in ("running_mean", "running_var"):
            roles[role] = self.parameter(f"{name}.{role}", channels, is_constant=True)
        return self.add("batch_norm", site, name=name, parameters=roles)

    def activation(self, site: str) -> str:
        """The network's activation."""
        return self.add(self._activation, site)

    def conv_norm(self, site: str, channels: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> str:
        """A convolution and its norm."""
        return self.norm(self.conv(site, channels, kernel, stride, groups=groups))

    def conv_norm_activation(self, site: str, channels: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> str:
        """A convolution, its norm and the activation."""
        return self.activation(self.conv_norm(site, channels, kernel, stride, groups))

    def norm_activation_conv(self, site: str, channels: int, kernel: int = 3, stride: int = 1) -> str:
        """A norm, the activation and a convolution."""
        return self.conv(self.activation(self.norm(site)), channels, kernel, stride)

    def pool(self, site: str, kind: str) -> str:
        """Halve the maps: by the ``max`` or the ``average`` of 2 × 2 pixels."""
        op = {"max": "max_pool2d", "average": "avg_pool2d"}[kind]
        return self.add(op, site, kernel_size=(2, 2), stride=(2, 2))

    def linear(self, site: str, features: int) -> str:
        """A linear layer with a bias."""
        name = self._named("linear")
        roles = {
            "weight": self.parameter(f"{name}.weight", (features, self.channels(site))),
            "bias": self.parameter(f"{name}.bias", (features,)),
        }
        return self.add("linear", site, name=name, parameters=roles)

    def global_mean(self, site: str) -> str:
        """The mean of each channel's map, a vector."""
        return self.add("flatten", self.add("adaptive_avg_pool2d", site, output_size=(1, 1)))

    def classifier(self, site: str, num_classes: int) -> Graph:
        """The graph that answers with a linear layer of the channels' means."""
        return self.graph(self.linear(self.global_mean(site), num_classes))

    def _named(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"


def num_layers(graph: Graph) -> int:
    """Convolutions and linear layers of a graph."""
    return sum(operation.op in ("conv2d", "linear") for operation in graph.operations)
