"""A network from elsewhere as what evidence is found out about."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.evidence import LowPrecision, Pace, Runnable, RunnableGraphs, RunnableModule, multiplies_bfloat16
from zoovet.networks import Graph, Networks
from zoovet.networks.operations import INPUT, Operation
from zoovet.vet.network import Network, are_probabilities

__all__ = ["LogProbabilities", "answers_probabilities", "at_least_float32", "pace_of", "runnable", "sought_in"]

_TINY, _HALVES = 1e-20, (torch.float16, torch.bfloat16)
_NUM_TRIED = 4
_NUM_VALUES_AT_ONCE = 2**26
_FEWEST_IMAGES = 4
_LARGE = 25_000_000
"""Multiplications of an image from which a network is large."""

_IN_BFLOAT16 = "triggers were sought in bfloat16, as the network is large: in some two thirds of the time or less"


def runnable(network: Network, image_shape: tuple[int, ...] | None = None) -> Runnable:
    """The network, to be run on images in [-1, 1]: by its graph where it has one, else by its own code.

    One whose answers to random images are all probabilities has their logarithms for logits; one of half precision is
    run in float32.

    Args:
        network: Any.
        image_shape: ``(channels, height, width)`` of the images whose pixels are the features of a network that reads
            these.

    Raises:
        ZoovetError: Nobody knows its input scaling, or it reads no images.
    """
    if network.scaling is None:
        raise ZoovetError(
            "the network's input scaling is not known: give scaling=…, as 'unit' or 'imagenet', or labelled images to "
            "find it with"
        )
    is_flat = len(network.input_shape) == 1 and image_shape is not None
    shape = tuple(image_shape) if is_flat and image_shape is not None else network.input_shape
    graph = network.graph
    if network.networks is not None and graph is not None:
        own = replace(_flattening(graph, shape) if is_flat else graph, input_scaling=network.scaling)
        made: Runnable = RunnableGraphs(at_least_float32(Networks(own, network.networks.parameters)))
    else:
        assert network.module is not None
        own_module = network.module
        if any(one.dtype in _HALVES for one in own_module.parameters()):
            own_module = copy.deepcopy(own_module).float()
        module = nn.Sequential(nn.Flatten(), own_module) if is_flat else own_module
        return RunnableModule(module, shape, network.scaling)
    tried = 2 * torch.rand(_NUM_TRIED, *shape, generator=torch.Generator().manual_seed(0)) - 1
    with torch.no_grad():
        answers = made.logits(tried.to(made.device, made.dtype))[0]
    return LogProbabilities(made) if are_probabilities(answers) else made


def at_least_float32(networks: Networks) -> Networks:
    """Networks of half precision in float32, in which nothing can be sought otherwise; others as they are."""
    return networks.to(dtype=torch.float32) if networks.dtype in _HALVES else networks


def pace_of(network: Network) -> Pace:
    """How fast a network may be examined: several searches at once where its graph is run, few images if it is large.

    What its operations make for the images of one batch is kept for gradients: some 2^26 numbers a search.
    """
    if network.networks is None or network.graph is None:
        return Pace()
    values = sum(math.prod(site.shape) for site in network.graph.sites.values())
    is_on_processor = network.networks.device.type == "cpu"
    return Pace(
        num_threads=torch.get_num_threads() if is_on_processor else 1,
        max_images=max(_FEWEST_IMAGES, min(Pace().max_images, _NUM_VALUES_AT_ONCE // values)),
    )


def sought_in(network: Network, own: Runnable) -> tuple[Runnable, tuple[str, ...]]:
    """What of a network triggers are sought in, and what is to be said of that: a large one in bfloat16, if it can be.

    Args:
        network: A network.
        own: It as :func:`runnable` gives it.
    """
    graph = network.graph
    is_fast = own.device.type == "cpu" and own.dtype == torch.float32 and multiplies_bfloat16()
    if graph is None or graph.num_multiplications < _LARGE or not is_fast:
        return own, ()
    return LowPrecision(own), (_IN_BFLOAT16,)


def answers_probabilities(own: Runnable) -> bool:
    """Whether numbers alone told that a network of :func:`runnable` answers probabilities: no softmax was seen."""
    return isinstance(own, LogProbabilities) or (isinstance(own, RunnableModule) and own.is_of_probabilities)


class LogProbabilities:
    """A network that answers probabilities, with their logarithms for logits.

    Args:
        network: That one (B = 1).
    """

    def __init__(self, network: Runnable) -> None:
        self._network = network
        self.input_shape, self.num_classes = network.input_shape, network.num_classes
        self.dtype, self.device = network.dtype, network.device

    @property
    def network(self) -> Runnable:
        """The one that answers probabilities."""
        return self._network

    def __len__(self) -> int:
        return len(self._network)

    def __getitem__(self, index: slice) -> LogProbabilities:
        return LogProbabilities(self._network[index])

    def logits(self, images: Tensor) -> Tensor:
        """[1, N, classes] for [N, C, H, W] or [1, N, C, H, W]."""
        return self._network.logits(images).clamp_min(_TINY).log()


def _flattening(graph: Graph, shape: tuple[int, ...]) -> Graph:
    """The graph behind an operation that makes features of images."""
    name = "pixels"
    while name in graph.sites:
        name += "_"
    first = Operation(op="flatten", inputs=(INPUT,), output=name)
    rest = [
        replace(one, inputs=tuple(name if site == INPUT else site for site in one.inputs)) for one in graph.operations
    ]
    return replace(graph, input_shape=shape, operations=(first, *rest))
