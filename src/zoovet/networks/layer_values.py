"""What the layers of chains hold when they run: read out of the interpreter."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.run import values_at

__all__ = ["forward_features", "forward_hidden", "forward_means"]


def forward_features(networks: Networks, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of B networks on N images, and what their last layer reads.

    Args:
        networks: As in :func:`~zoovet.networks.run.run`; chains of at least two layers.
        images: As in :func:`~zoovet.networks.run.run`.

    Returns:
        The logits, and the last hidden layer's values after activation and pooling, a map's laid out channel by
        channel: [B, N, features].

    Raises:
        ZoovetError: As in :func:`~zoovet.networks.run.run`, or the networks are no chains or have one layer.
    """
    sites = networks.graph.chain.sites
    if len(sites) < 2:
        raise ZoovetError(f"networks of one layer have no hidden one, got {networks.graph.in_words()}")
    values = values_at(networks, images, sites[-2:])
    return values[sites[-1]], values[sites[-2]].flatten(2)


def forward_means(networks: Networks, images: Tensor) -> Tensor:
    """What every hidden and output channel holds on N images, its mean over its map where it has one.

    Args:
        networks: As in :func:`~zoovet.networks.run.run`; chains.
        images: As in :func:`~zoovet.networks.run.run`.

    Returns:
        [B, N, hidden and output channels], layer by layer, after activation and pooling.

    Raises:
        ZoovetError: As in :func:`~zoovet.networks.run.run`, or the networks are no chains.
    """
    means = values_at(networks, images, networks.graph.chain.sites, reduce=_mean_over_map)
    return torch.cat(list(means.values()), dim=2)


def forward_hidden(networks: Networks, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits of B networks on N images, and what every hidden group holds.

    Args:
        networks: As in :func:`~zoovet.networks.run.run`; chains.
        images: As in :func:`~zoovet.networks.run.run`.

    Returns:
        The logits, and for each hidden layer its values after activation and pooling: [B, N, channels], or
        [B, N, channels, height, width] where they are a map.

    Raises:
        ZoovetError: As in :func:`~zoovet.networks.run.run`, or the networks are no chains.
    """
    *hidden, logits = values_at(networks, images, networks.graph.chain.sites).values()
    return logits, hidden


def _mean_over_map(values: Tensor) -> Tensor:
    """[B, N, channels, …] to [B, N, channels]."""
    return values if values.ndim == 3 else values.flatten(3).mean(dim=3)
