"""Compiled code in the place of :func:`zoovet.networks.run`, where only gradients to images are wanted."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.networks import Graph, Networks, run
from zoovet.networks.rescaled import images_as_read
from zoovet.zoo.compiled_logits import compiled_logits
from zoovet.zoo.native import compile_chain

__all__ = ["CompiledForward"]


class CompiledForward:
    """Logits of networks on images, differentiable to the images but not to the weights, on one thread.

    Networks in double precision or on a device go through :func:`~zoovet.networks.run`; so do those of other
    graphs, and of graphs that are no chains.

    Args:
        graphs: Of the networks; the code for each is compiled where it is not in the cache.

    Raises:
        NativeUnavailable: There is no C compiler, it fails, or the C code lacks an activation of a graph.
    """

    def __init__(self, graphs: tuple[Graph, ...]) -> None:
        self._compiled = {graph.architecture: compile_chain(graph) for graph in graphs if graph.is_chain}

    def __call__(self, networks: Networks, images: Tensor) -> Tensor:
        """Logits [B, N, num_outputs]; arguments as of :func:`~zoovet.networks.run`.

        Raises:
            ZoovetError: The images do not fit the networks.
        """
        compiled = self._compiled.get(networks.graph.architecture)
        is_float = networks.dtype == images.dtype == torch.float32
        if compiled is None or not is_float or networks.device.type != "cpu":
            return run(networks, images)
        num_axes = len(networks.graph.input_shape)
        if images.ndim == num_axes + 2 and len(images) != len(networks):
            return run(networks, images)  # says what is wrong
        parameters = [compiled.pack(flat) for flat in networks.detach().flat().numpy()]
        shown = images_as_read(networks.graph, images)
        return compiled_logits(compiled, parameters, shown, num_axes)
