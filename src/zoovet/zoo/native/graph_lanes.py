"""To how many channels a graph's compiled trainer rounds up: 16 where that wastes nothing, else 8.

A vector holds as many, or fewer where the processor has none so wide (``lanes.h``); the layout is the same.
"""

from __future__ import annotations

from functools import lru_cache

from zoovet.networks import INPUT, Graph

__all__ = ["MOST_LANES", "lanes_of", "padded"]

_LEAST_LANES, MOST_LANES = 8, 16


def padded(channels: int, lanes: int) -> int:
    """Channels rounded up to whole vectors."""
    return -(-channels // lanes) * lanes


@lru_cache(maxsize=256)
def lanes_of(graph: Graph) -> int:
    """What channels are rounded up to, and a vector holds at most.

    The images' channels, which hardly anything reads as vectors, do not count; groups are whole vectors of 8.
    """
    is_grouped = any(
        1 < operation.attributes["groups"] < graph.shapes[operation.parameters["weight"]][0]
        for operation in graph.operations
        if operation.op == "conv2d"
    )
    channels = [site.num_channels or 1 for name, site in graph.sites.items() if name != INPUT]
    wastes = any(padded(count, MOST_LANES) > padded(count, _LEAST_LANES) for count in channels)
    return _LEAST_LANES if is_grouped or wastes else MOST_LANES
