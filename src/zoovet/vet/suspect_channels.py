"""Channels inside a network that a found trigger drives out of the range that they keep to on clean images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.images import Images
from zoovet.networks import Graph, Networks, values_at
from zoovet.vet.network import Network
from zoovet.vet.runnable_network import at_least_float32

__all__ = ["SuspectChannel", "suspect_channels"]

_NUM_SITES = 3
_NUM_CHANNELS = 5
_FLOOR = 0.1
_TINY, _MOST = 1e-12, 1e6


@dataclass(frozen=True, kw_only=True)
class SuspectChannel:
    """A channel that a trigger drives.

    Attributes:
        site: Name of the site in the graph.
        channel: Number of the channel.
        low: The least that it is on clean images; of a map, the greatest place counts.
        high: The most.
        driven: What it is with the trigger, the mean over images.
        deviations: How far outside that range this is, in standard deviations of the channel on clean images (at least
            a tenth of the site's mean one); at most a million.
    """

    site: str
    channel: int
    low: float
    high: float
    driven: float
    deviations: float


def suspect_channels(network: Network, clean: Images, driven: Images) -> tuple[SuspectChannel, ...]:
    """The channels of the last sites that a trigger drives farthest out of their range, at most five.

    Args:
        network: Any; of one that has no graph there are none.
        clean: Images as they are.
        driven: The same with the trigger.
    """
    if network.networks is None or network.scaling is None:
        return ()
    networks = at_least_float32(network.networks)
    sites = _last_sites(networks.graph)
    scaled = [network.as_read(images).to(networks.dtype) for images in (clean, driven)]
    before, after = (_greatest(networks, values, sites) for values in scaled)
    found = []
    for site in sites:
        low, high = before[site].amin(0), before[site].amax(0)
        spread = before[site].std(0, correction=0)
        unit = torch.maximum(spread, _FLOOR * spread.mean()).clamp_min(_TINY)
        reached = after[site].mean(0)
        beyond = (torch.maximum(reached - high, low - reached) / unit).clamp_max(_MOST)
        for channel in torch.nonzero(beyond > 0).flatten().tolist():
            found.append(
                SuspectChannel(
                    site=site,
                    channel=channel,
                    low=float(low[channel]),
                    high=float(high[channel]),
                    driven=float(reached[channel]),
                    deviations=float(beyond[channel]),
                )
            )
    return tuple(sorted(found, key=lambda one: -one.deviations)[:_NUM_CHANNELS])


def _last_sites(graph: Graph) -> list[str]:
    """What the last convolutions and linear operations make that the output depends on, but for the output itself."""
    makers = graph.makers
    needed, waiting, answers = set[str](), [graph.output], {graph.output}
    while waiting:
        name = waiting.pop()
        if name in needed or name not in makers:
            continue
        needed.add(name)
        waiting.extend(makers[name].inputs)
    if makers[graph.output].op not in ("conv2d", "linear"):  # a softmax, say
        answers.update(makers[graph.output].inputs)
    made = [one.output for one in graph.operations if one.op in ("conv2d", "linear") and one.output in needed - answers]
    return made[-_NUM_SITES:]


def _greatest(networks: Networks, images: Tensor, sites: list[str]) -> dict[str, Tensor]:
    """Site → [N, channels], of maps the greatest place."""
    makers, found = networks.graph.makers, dict[str, Tensor]()
    for op, reduced in (("conv2d", _greatest_of_map), ("linear", _greatest_of_tokens)):
        own = [site for site in sites if makers[site].op == op]
        with torch.no_grad():
            made = values_at(networks, images, own, reduce=reduced) if own else {}
        found |= {name: values[0] for name, values in made.items()}
    return found


def _greatest_of_map(values: Tensor) -> Tensor:
    """[B, N, channels] of [B, N, channels, …]."""
    return values.flatten(3).amax(3) if values.ndim > 3 else values


def _greatest_of_tokens(values: Tensor) -> Tensor:
    """[B, N, channels] of [B, N, …, channels]."""
    return values.flatten(2, -2).amax(2) if values.ndim > 3 else values
