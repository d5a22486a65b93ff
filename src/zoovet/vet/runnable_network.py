"""A network from elsewhere as what evidence is found out about."""

from __future__ import annotations

from zoovet.errors import ZoovetError
from zoovet.evidence import Runnable, RunnableGraphs, RunnableModule
from zoovet.networks import Networks
from zoovet.vet.network import Network

__all__ = ["runnable"]


def runnable(network: Network) -> Runnable:
    """The network, to be run on images in [-1, 1]: by its graph where it has one, else by its own code.

    Raises:
        ZoovetError: Nobody knows its input scaling, or it reads no images.
    """
    if network.scaling is None:
        raise ZoovetError(
            "the network's input scaling is not known: give scaling=…, as 'unit' or 'imagenet', or labelled images to "
            "find it with"
        )
    graph = network.graph
    if network.networks is not None and graph is not None:
        return RunnableGraphs(Networks(graph, network.networks.parameters))
    assert network.module is not None
    return RunnableModule(network.module, network.input_shape, network.scaling)
