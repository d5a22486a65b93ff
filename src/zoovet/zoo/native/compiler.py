"""Compile the C trainer for one graph, and call it. A call runs on one thread and leaves the interpreter free."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.networks.graph import Graph
from zoovet.networks.layer_spec import LayerSpec
from zoovet.zoo.native.arguments import OptimizerArgument, SamplesArgument
from zoovet.zoo.native.layer_shape import ACTIVATIONS, LayerShape
from zoovet.zoo.native.libraries import NativeUnavailable, load_library, pointer
from zoovet.zoo.samples import Anchor, Floats, Integers, OptimizerMemory, Samples, Schedule, require_images

__all__ = ["NativeNetwork", "compile_chain"]

_BLOCK = 16
_SOURCE = Path(__file__).with_name("trainer.c")


@dataclass(frozen=True)
class NativeNetwork:
    """The compiled trainer of one graph.

    Attributes:
        graph: The networks it trains.
        library: The loaded shared library.
        positions: [num_parameters] where each number of a flat vector stands among the trainer's own parameters.
        num_padded: Length of the trainer's parameters (channels are rounded up to whole blocks of 16).
    """

    graph: Graph
    library: Any
    positions: NDArray[np.int64]
    num_padded: int

    def pack(self, flat: Floats) -> Floats:
        """The trainer's parameters [num_padded] from a flat vector [num_parameters]."""
        padded = np.zeros(self.num_padded, dtype=np.float32)
        padded[self.positions] = flat
        return padded

    def unpack(self, padded: Floats) -> Floats:
        """The flat vector [num_parameters] from the trainer's parameters [num_padded]."""
        return padded[self.positions]

    def train(
        self,
        parameters: Floats,
        memory: OptimizerMemory,
        samples: Samples,
        schedule: Schedule,
        seed: int,
        anchor: Anchor | None = None,
    ) -> float:
        """Train in place on the samples in their order, once, batch by batch; the last batch may be smaller.

        Args:
            parameters: [num_padded], changed in place.
            memory: The optimizer's, changed in place.
            samples: Images and labels.
            schedule: Optimizer, rates and batch size; its epochs are not read. The optimizers are torch's: ``sgd`` with
                momentum 0.9, ``adam`` with 0.9 and 0.999, ``rmsprop`` with 0.99; the weight decay is added to the
                gradient.
            seed: Of the dropout.
            anchor: What the weights are held near to, or nothing.

        Returns:
            The mean loss over the samples (cross-entropy, nats).

        Raises:
            ZoovetError: The samples are not for networks of this graph.
        """
        samples.require_fit(self.graph)
        held = None if anchor is None else self.pack(anchor.flat)
        how = OptimizerArgument.of(schedule, held, anchor)
        loss: float = self.library.zoovet_train(
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
        _require_memory(loss != -1.0)
        return loss

    def gradient(self, parameters: Floats, samples: Samples) -> Floats:
        """Gradient of the mean cross-entropy on the samples at one network [num_padded]: [num_padded]."""
        samples.require_fit(self.graph)
        result = np.zeros_like(parameters)
        loss: float = self.library.zoovet_gradient(
            pointer(parameters),
            pointer(result),
            ctypes.byref(SamplesArgument.of(samples)),
            ctypes.c_int64(len(samples)),
        )
        _require_memory(loss != -1.0)
        return result

    def image_gradients(self, parameters: Floats, images: Floats, labels: Integers) -> tuple[Floats, Floats]:
        """Gradient of every image's own cross-entropy to the image [N, \\*input_shape], and logits [N, num_outputs]."""
        require_images(self.graph, images, labels)
        gradients = np.empty_like(images)
        logits = np.empty((len(images), self.graph.num_outputs), dtype=np.float32)
        failed: int = self.library.zoovet_image_gradients(
            pointer(parameters),
            pointer(images),
            pointer(labels),
            ctypes.c_int64(len(images)),
            pointer(gradients),
            pointer(logits),
        )
        _require_memory(not failed)
        return gradients, logits

    def image_slopes(self, parameters: Floats, images: Floats, to_logits: Floats) -> Floats:
        """Slopes to images [N, \\*input_shape] of what has the slopes ``to_logits`` to the logits [N, outputs]."""
        require_images(self.graph, images)
        gradients = np.empty_like(images)
        failed: int = self.library.zoovet_image_slopes(
            pointer(parameters),
            pointer(images),
            pointer(to_logits),
            ctypes.c_int64(len(images)),
            pointer(gradients),
        )
        _require_memory(not failed)
        return gradients

    def logits(self, parameters: Floats, images: Floats) -> Floats:
        """Logits [N, num_outputs] of one network [num_padded] on images [N, \\*input_shape]."""
        require_images(self.graph, images)
        result = np.empty((len(images), self.graph.num_outputs), dtype=np.float32)
        failed: int = self.library.zoovet_logits(
            pointer(parameters), pointer(images), ctypes.c_int64(len(images)), pointer(result)
        )
        _require_memory(not failed)
        return result


def _require_memory(was_enough: bool) -> None:
    if not was_enough:
        raise MemoryError("the trainer could not allocate its work space")


@cache
def compile_chain(graph: Graph) -> NativeNetwork:
    """The compiled trainer of a graph, from the cache folder where it is there already.

    Raises:
        NativeUnavailable: There is no C compiler, it fails, or the graph has an activation that the C code lacks.
    """
    unknown = {layer.activation for layer in graph.chain.layers} - set(ACTIVATIONS)
    if unknown:
        raise NativeUnavailable(f"the compiled trainer does not know the activation {sorted(unknown)[0]!r}")
    assert not graph.input_map, "compiled code reads images as they are: give it those of images_as_read()"
    library = load_library(_SOURCE, _describe_layers(graph))
    library.zoovet_train.restype = ctypes.c_float
    library.zoovet_gradient.restype = ctypes.c_float
    library.zoovet_image_gradients.restype = ctypes.c_int
    library.zoovet_image_slopes.restype = ctypes.c_int
    library.zoovet_logits.restype = ctypes.c_int
    positions, num_padded = _positions(graph)
    return NativeNetwork(graph, library, positions, num_padded)


def _padded(channels: int) -> int:
    return -(-channels // _BLOCK) * _BLOCK


def _layer_starts(graph: Graph) -> list[int]:
    starts = [0]
    for layer in graph.chain.layers:
        starts.append(starts[-1] + (layer.kernel_size * layer.in_channels + 1) * _padded(layer.out_channels))
    return starts


def _positions(graph: Graph) -> tuple[NDArray[np.int64], int]:
    """Place of every number of a flat vector in the trainer's layout, and that layout's length."""
    starts, parts = _layer_starts(graph), []
    for layer, start in zip(graph.chain.layers, starts[:-1], strict=True):
        lanes, taps = _padded(layer.out_channels), layer.kernel_size
        output, channel, tap = np.ogrid[: layer.out_channels, : layer.in_channels, :taps]
        parts.append((start + (tap * layer.in_channels + channel) * lanes + output).ravel())
        parts.append(start + taps * layer.in_channels * lanes + np.arange(layer.out_channels))
    return np.concatenate(parts), starts[-1]


def _describe_layers(graph: Graph) -> str:
    """The C file that holds the layers as constants."""
    starts = _layer_starts(graph)
    transposed, entries = [0], []
    for index, layer in enumerate(graph.chain.layers):
        in_lanes = layer.in_channels if index == 0 else _padded(layer.in_channels)
        transposed.append(transposed[-1] + layer.kernel_size * layer.out_channels * in_lanes)
        entries.append(_layer_constant(layer, graph.chain.map_sizes[index], in_lanes, starts[index]))
    steps = [f"STEP({index})" for index in range(len(graph.chain.layers))]
    return "\n".join(
        [
            f"#define NUM_LAYERS {len(graph.chain.layers)}",
            f"#define NUM_PARAMETERS {starts[-1]}",
            f"#define NUM_TRANSPOSED {transposed[-1]}",
            f"#define NUM_CLASSES {graph.num_outputs}",
            f"static const layer LAYERS[] = {{\n  {(',' + chr(10) + '  ').join(entries)}\n}};",
            f"static const long TRANSPOSED_START[] = {{{', '.join(map(str, transposed[:-1]))}}};",
            f"#define FOR_EACH_LAYER(STEP) {' '.join(steps)}",
            f"#define FOR_EACH_LAYER_BACKWARD(STEP) {' '.join(reversed(steps))}",
            "",
        ]
    )


def _layer_constant(layer: LayerSpec, size: tuple[int, int] | None, in_lanes: int, start: int) -> str:
    return f"{{{LayerShape.of(layer, size).constants}, {in_lanes}, {start}}}"
