"""Compile the C trainer of one graph, and call it. A call runs on one thread and leaves the interpreter free."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from zoovet.networks import Graph
from zoovet.zoo.flat_parameters import FlatParameters
from zoovet.zoo.native.arguments import OptimizerArgument, SamplesArgument
from zoovet.zoo.native.graph_source import graph_source
from zoovet.zoo.native.libraries import load_library, pointer
from zoovet.zoo.samples import Anchor, Floats, Integers, OptimizerMemory, Samples, Schedule, require_images

__all__ = ["NativeGraph", "compile_graph"]

_SOURCE = Path(__file__).with_name("graph_trainer.c")


@dataclass(frozen=True)
class NativeGraph(FlatParameters):
    """The compiled trainer of one graph. Its parameters are the flat ones, running statistics among them.

    Attributes:
        graph: The networks it trains.
        library: The loaded shared library.
    """

    graph: Graph
    library: Any

    def train(
        self,
        parameters: Floats,
        memory: OptimizerMemory,
        samples: Samples,
        schedule: Schedule,
        seed: int,
        anchor: Anchor | None = None,
    ) -> float:
        """As :meth:`~zoovet.zoo.native.NativeNetwork.train`.

        Batch norms use each batch's statistics; running ones follow with momentum 0.1, as torch's do. Constants stay.

        Raises:
            ZoovetError: The samples are not for networks of this graph.
        """
        samples.require_fit(self.graph)
        library = compile_graph(self.graph, drops=True).library if schedule.dropout > 0 else self.library
        how = OptimizerArgument.of(schedule, None if anchor is None else anchor.flat, anchor)
        loss: float = library.zoovet_train(
            pointer(parameters),
            pointer(memory.first),
            pointer(memory.second),
            pointer(memory.num_steps),
            ctypes.byref(how),
            ctypes.c_float(1.0 - schedule.dropout),
            ctypes.c_uint32(seed),
            ctypes.byref(SamplesArgument.of(samples)),
            ctypes.c_int64(len(samples)),
            ctypes.c_int64(schedule.batch_size),
        )
        _require_memory(loss)
        return loss

    def gradient(self, parameters: Floats, samples: Samples) -> Floats:
        """Gradient [num_parameters] of the samples' mean cross-entropy, batch norms by running statistics."""
        samples.require_fit(self.graph)
        result = np.zeros_like(parameters)
        self._evaluate(parameters, samples, gradients=result)
        return result

    def image_gradients(self, parameters: Floats, images: Floats, labels: Integers) -> tuple[Floats, Floats]:
        """Gradient of every image's own cross-entropy to the image [N, \\*input_shape], and logits [N, classes]."""
        require_images(self.graph, images, labels)
        gradients, logits = np.empty_like(images), self._logits_array(images)
        self._evaluate(parameters, _in_order(images, labels), logits=logits, image_gradients=gradients)
        return gradients, logits

    def image_slopes(self, parameters: Floats, images: Floats, to_logits: Floats) -> Floats:
        """Slopes to images [N, \\*input_shape] of what has the slopes ``to_logits`` to the logits [N, classes]."""
        require_images(self.graph, images)
        gradients = np.empty_like(images)
        self._evaluate(parameters, _in_order(images), to_logits=to_logits, image_gradients=gradients)
        return gradients

    def logits(self, parameters: Floats, images: Floats) -> Floats:
        """Logits [N, classes] on images [N, \\*input_shape]."""
        require_images(self.graph, images)
        result = self._logits_array(images)
        self._evaluate(parameters, _in_order(images), logits=result)
        return result

    def _logits_array(self, images: Floats) -> Floats:
        return np.empty((len(images), self.graph.output_shape[0]), dtype=np.float32)

    def _evaluate(
        self,
        parameters: Floats,
        samples: Samples,
        *,
        to_logits: Floats | None = None,
        logits: Floats | None = None,
        image_gradients: Floats | None = None,
        gradients: Floats | None = None,
    ) -> None:
        given = (None if array is None else pointer(array) for array in (to_logits, logits, image_gradients, gradients))
        loss: float = self.library.zoovet_evaluate(
            pointer(parameters), ctypes.byref(SamplesArgument.of(samples)), ctypes.c_int64(len(samples)), *given
        )
        _require_memory(loss)


def _in_order(images: Floats, labels: Integers | None = None) -> Samples:
    """All images, one after another."""
    indices = np.arange(len(images), dtype=np.int32)
    return Samples(images, images[:0], indices, np.zeros_like(indices) if labels is None else labels)


def _require_memory(loss: float) -> None:
    if loss == -1.0:
        raise MemoryError("the trainer could not allocate its work space")


@cache
def compile_graph(graph: Graph, *, drops: bool = False) -> NativeGraph:
    """The compiled trainer of a graph, from the cache folder where it is there already.

    Args:
        graph: What it trains.
        drops: Whether it knows dropout, which :meth:`NativeGraph.train` asks for itself.

    Raises:
        NativeUnavailable: There is no C compiler, it fails, or the C code lacks an operation of the graph.
    """
    assert not graph.input_map, "compiled code reads images as they are: give it those of images_as_read()"
    library = load_library(_SOURCE, graph_source(graph, drops=drops))
    library.zoovet_train.restype = ctypes.c_float
    library.zoovet_evaluate.restype = ctypes.c_float
    return NativeGraph(graph, library)
