"""One network of any graph that the compiled trainer knows, to be run on images: evidence in half of the time."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.evidence import Runnable, RunnableGraphs
from zoovet.evidence.scaled_images import ScaledInput
from zoovet.networks import Networks
from zoovet.zoo.compiled_logits import compiled_logits
from zoovet.zoo.native import NativeUnavailable, compile_graph
from zoovet.zoo.samples import Floats

__all__ = ["CompiledRunnable", "fastest_runnable"]


class CompiledRunnable:
    """Logits and their gradients to images by compiled code, on one thread.

    See :class:`~zoovet.evidence.Runnable`.

    Args:
        networks: A single one (B = 1), in single precision on the processor, whose graph says its input scaling.

    Raises:
        NativeUnavailable: There is no C compiler, it fails, or the C code lacks an operation of the graph.
    """

    def __init__(self, networks: Networks) -> None:
        graph = networks.graph
        self._input = ScaledInput(graph.input_shape, graph.input_scaling)
        self._native = compile_graph(graph.reading(None))
        self._parameters: Floats = self._native.pack(networks.detach().flat()[0].numpy())
        self.input_shape: tuple[int, ...] = graph.input_shape
        self.num_classes: int = graph.output_shape[0]
        self.dtype, self.device = torch.float32, torch.device("cpu")

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: slice) -> CompiledRunnable:
        """Itself: it is a single one."""
        return self

    def logits(self, images: Tensor) -> Tensor:
        """Logits [1, N, classes] on images [N, C, H, W] or [1, N, C, H, W] in [-1, 1]; differentiable to the images."""
        return compiled_logits(self._native, [self._parameters], self._input(images), len(self.input_shape))


def fastest_runnable(networks: Networks) -> Runnable:
    """A single network (B = 1) to be run: by compiled code where it can be had, else through torch."""
    try:
        return CompiledRunnable(networks)
    except NativeUnavailable:
        return RunnableGraphs(networks)
