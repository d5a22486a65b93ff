"""Files that say their network's graph: what they were read as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zoovet.networks.batch import Networks
from zoovet.readers.loaded import GraphData

__all__ = ["GraphFile", "NetworkFile"]


@dataclass(frozen=True, kw_only=True)
class NetworkFile:
    """One network from a file.

    Attributes:
        networks: Its graph and weights (B = 1).
        notes: What a person should know of how it was read, a line each; safe to show.
    """

    networks: Networks
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GraphFile:
    """A file that was opened and says its network's graph.

    Attributes:
        data: What it holds, as the reading process describes it.
        read: From the shape of an image, ``(channels, height, width)`` or ``(features,)``, or ``None`` where the file
            is to say it, and which of several outputs is to be read, to the network; what is wrong with the file is a
            :class:`ZoovetError` that names it.
    """

    data: GraphData
    read: Callable[[tuple[int, ...] | None, int | None], NetworkFile]

    @property
    def format_name(self) -> str:
        """``ONNX``, ``Keras``, ``torch.export``, ``TorchScript`` or ``TFLite``."""
        return self.data.format_name
