"""Compile the CUDA trainer for one graph, and call it: each network is trained by a block of threads of its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.networks.graph import Graph
from zoovet.zoo.native.cuda_library import CudaLibrary, load_cuda_library, shared_memory
from zoovet.zoo.native.layer_shape import ACTIVATIONS, LayerShape
from zoovet.zoo.native.libraries import NativeUnavailable

__all__ = ["CudaNetworks", "CudaTraining", "compile_cuda", "describe_layers"]

_SOURCE = Path(__file__).with_name("trainer.cu")
_THREADS = 384
_WARP = 32
_SCHEDULERS = 4
_SUMS = 64
"""Sums that a thread may hold in registers."""

_MOST_IMAGES = 16
_RULE = (
    *("keep", "add", "keep_second", "add_second", "rate", "adam_rate", "root", "adam_root", "floor", "decay", "pull"),
    "dropout",
)
_JOB = np.dtype(
    [("order", "<i8"), ("count", "<i4"), ("epochs", "<i4"), ("batch_size", "<i4"), ("seed", "<u4")]
    + [(name, "<f4") for name in _RULE]
)


@dataclass(frozen=True, kw_only=True)
class CudaTraining:
    """One network's training.

    Attributes:
        order: [epochs, n] int32, the images of every epoch in their order.
        batch_size: Images a step; the last of an epoch may have fewer.
        seed: Of the dropout, 32 bits.
        rule: The numbers of the optimizer's rule, by the names of ``Rule`` in trainer.cu.
    """

    order: NDArray[np.int32]
    batch_size: int
    seed: int
    rule: dict[str, float]


@dataclass(frozen=True)
class CudaNetworks:
    """The compiled trainer of one graph on one device."""

    graph: Graph
    library: CudaLibrary

    def train(
        self, flats: Tensor, trainings: Sequence[CudaTraining], images: Tensor, labels: Tensor, anchors: Tensor | None
    ) -> None:
        """Train networks in place; queued on the device's current stream.

        Args:
            flats: [B, P] float32, changed in place.
            trainings: One a network; the longest first, so that the device has work for all of its parts to the end.
            images: [N, \\*input_shape] float32.
            labels: [N] int32.
            anchors: [B, P] that the networks are held near to, as strongly as ``rule`` says.
        """
        jobs = np.zeros(len(trainings), dtype=_JOB)
        start = 0
        for job, training in zip(jobs, trainings, strict=True):
            epochs, count = training.order.shape
            job["order"], job["count"], job["epochs"] = start, count, epochs
            job["batch_size"], job["seed"] = training.batch_size, training.seed
            for name in _RULE:
                job[name] = training.rule[name]
            start += training.order.size
        orders = torch.from_numpy(np.concatenate([training.order.ravel() for training in trainings]))
        memory = torch.zeros(len(jobs), 3, flats.shape[1], device=flats.device)
        given = (torch.from_numpy(jobs.view(np.uint8)), images, labels, orders, anchors, flats, memory)
        there = [None if tensor is None else tensor.to(flats.device, non_blocking=True) for tensor in given]
        self.library.launch("zoovet_train", (len(jobs), 1), *there)

    def classify(self, flats: Tensor, images: Tensor, shown: Tensor | None = None) -> Tensor:
        """Labels that networks give to images; queued on the device's current stream.

        Args:
            flats: [B, P].
            images: [N, \\*input_shape].
            shown: [B, n] int32, which of them each network is shown; all where left out.

        Returns:
            int64 [B, N] or [B, n].
        """
        count = len(images) if shown is None else shown.shape[1]
        labels = torch.empty(len(flats), count, dtype=torch.int64, device=flats.device)
        parts = max(1, min(-(-2 * _multiprocessors(flats.device) // len(flats)), count // 256))
        each = -(-count // parts)
        self.library.launch("zoovet_classify", (len(flats), parts), flats, images, shown, count, each, labels)
        return labels


def _multiprocessors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def compile_cuda(graph: Graph, device: torch.device) -> CudaNetworks:
    """The compiled trainer of a graph.

    Raises:
        NativeUnavailable: The compiler cannot be had, or the graph has an activation that the CUDA code lacks, ends in
            a map, or has networks too large for a multiprocessor's memory.
    """
    unknown = {layer.activation for layer in graph.chain.layers} - set(ACTIVATIONS)
    if unknown:
        raise NativeUnavailable(f"the CUDA trainer does not know the activation {sorted(unknown)[0]!r}")
    constants, used = describe_layers(graph, num_threads=_THREADS, shared_bytes=shared_memory(device))
    library = load_cuda_library(_SOURCE, constants, device, shared_bytes=used, num_threads=_THREADS)
    return CudaNetworks(graph, library)


@dataclass(frozen=True)
class _Tiles:
    """What one thread holds in registers: fields of ``Layer`` in trainer.cu."""

    forward_out: int
    forward_images: int
    input_channels: int
    input_images: int
    gradient_out: int


@dataclass(frozen=True)
class _Placed:
    """A layer with its places in shared memory and in flat vectors: fields of ``Layer`` in trainer.cu."""

    shape: LayerShape
    map_h: int
    row: int
    input: int
    sums: int
    places: int
    weights: int
    flat: int


def describe_layers(graph: Graph, *, num_threads: int, shared_bytes: int) -> tuple[str, int]:
    """The file that holds the layers as constants, and the bytes of shared memory that a block needs.

    Raises:
        NativeUnavailable: The networks end in a map, or one of them and an image's maps do not fit the memory.
    """
    layers, weights, floats = _placed(graph)
    if layers[-1].shape.pooled != (1, 1):
        raise NativeUnavailable("the CUDA trainer does not know networks whose logits are a map")
    logits, per_image = floats, floats + graph.num_outputs
    with_numbers = per_image + 2  # an image's place among all images, and its label
    fitting = (shared_bytes // 4 - weights) // with_numbers
    if fitting < 1:
        raise NativeUnavailable(
            f"a network and an image's maps take {4 * (weights + with_numbers)} bytes, and a multiprocessor of this "
            f"device shares {shared_bytes}"
        )
    images = 1 if fitting == 1 else min(fitting // 2 * 2, _MOST_IMAGES)
    entries = [_layer_constant(layer, _tiles(layer.shape, images, num_threads)) for layer in layers]
    numbers = {
        "THREADS": num_threads,
        "IMAGES": images,
        "IMAGE_FLOATS": per_image,
        "NUM_LAYERS": len(layers),
        "NUM_WEIGHTS": weights,
        "NUM_PARAMETERS": graph.num_parameters,
        "NUM_CLASSES": graph.num_outputs,
        "LOGITS": logits,
    }
    lines = [f"#define {name} {value}" for name, value in numbers.items()]
    lines += ["constexpr Layer LAYERS[] = {", *(f"    {entry}," for entry in entries), "};", ""]
    return "\n".join(lines), 4 * (weights + images * with_numbers)


def _placed(graph: Graph) -> tuple[list[_Placed], int, int]:
    """The layers in their places; how many floats all weights take, and an image's maps without the logits."""
    layers: list[_Placed] = []
    floats = weights = flat = 0
    for layer, size in zip(graph.chain.layers, graph.chain.map_sizes[:-1], strict=True):
        shape = LayerShape.of(layer, size)
        map_h, row = (
            max(
                shape.into[axis] + layer.padding[axis],
                (shape.out[axis] - 1) * layer.stride[axis] + (shape.kernel[axis] - 1) * layer.dilation[axis] + 1,
            )
            for axis in range(2)
        )
        placed = _Placed(shape, map_h, row, floats, 0, 0, weights, flat)
        floats += layer.in_channels * map_h * row
        if layer.pool is not None:
            placed = replace(placed, sums=floats)
            floats += layer.out_channels * shape.out[0] * shape.out[1]
            if layer.pool.kind == "max":
                placed = replace(placed, places=floats)
                floats += layer.out_channels * shape.pooled[0] * shape.pooled[1]
        layers.append(placed)
        rows = layer.in_channels * layer.kernel_size + 1
        weights += rows * _padded(layer.out_channels)
        flat += rows * layer.out_channels
    return layers, weights, floats


def _padded(channels: int) -> int:
    return -(-channels // 4) * 4


def _tiles(shape: LayerShape, images: int, num_threads: int) -> _Tiles:
    """The tiles that take a multiprocessor the fewest cycles, by a model of its schedulers and its shared memory."""
    out, into, taps = _padded(shape.layer.out_channels), shape.layer.in_channels, math.prod(shape.kernel)
    stride = math.prod(shape.layer.stride)

    def cycles(tasks: int, loads: float, loads_of_four: float, others: float) -> float:
        """Threads of ``tasks`` go through loops of so many instructions; loads of four floats take two cycles."""
        warps = -(-tasks // _WARP)
        rounds = max(1.5, -(-warps // _SCHEDULERS))  # a single warp leaves its scheduler waiting
        return max(rounds * (loads + loads_of_four + others), warps * (1.5 * loads + 2 * loads_of_four))

    def forward_cost(tile: tuple[int, int]) -> float:
        channels, some = tile
        tasks, inner = out // channels * images // some * math.prod(shape.out), into * taps
        return cycles(tasks, inner * some, inner * channels / 4, (inner + 8) * channels * some)

    def input_cost(tile: tuple[int, int]) -> float:
        channels, some = tile
        blocks = math.prod(-(-size // step) for size, step in zip(shape.into, shape.layer.stride, strict=True))
        tasks, inner = into // channels * images // some * blocks, out // 4
        others = (4 * inner * taps + 16 * stride) * channels * some
        return cycles(tasks, inner * 16 * some, inner * taps * channels, others)

    forward = [tile for tile in itertools.product((16, 8, 4), (4, 2, 1)) if out % tile[0] == images % tile[1] == 0]
    backward = [
        tile
        for tile in itertools.product((8, 4, 2, 1), (4, 2, 1))
        if into % tile[0] == images % tile[1] == 0 and (math.prod(tile) * stride <= _SUMS or math.prod(tile) == 1)
    ]
    gradient_out = 8 if out % 8 == 0 else 4
    while gradient_out > 1 and out // gradient_out * into < num_threads // _WARP:
        gradient_out //= 2
    return _Tiles(*min(forward, key=forward_cost), *min(backward, key=input_cost), gradient_out)


def _layer_constant(placed: _Placed, tiles: _Tiles) -> str:
    _, *places = (getattr(placed, name) for name in placed.__dataclass_fields__)
    return f"{{{placed.shape.constants}, {', '.join(map(str, (*places, *astuple(tiles))))}}}"
