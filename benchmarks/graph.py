"""What the interpreter of graphs takes, in units of what it stands for, in one run.

Plain chains: `run` on B networks against the same layers written out by hand, for B networks at once, and against their
B modules one after another, on the same images, without gradients and with those to weights and images. CIFAR
ResNet-20: `run` on the graph that `graph_from_module` reads, for one network, against the `nn.Module`; and after its
batch norms are folded. The two are called in turn, each first every other time, and a figure is the median of the
pairs' ratios. glibc hands freed memory of a few MB back to the system and asks for it anew at the next call, or does
not, as the sizes of the calls before had it; one and the same function then takes 57 or 150 ms of processor time. Both
sides run with a process that keeps it.

    python benchmarks/graph.py [--repeats 31] [--threads 1]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoovet.networks import (
    Graph,
    LayerSpec,
    Networks,
    fold_batch_norms,
    mlp,
    run,
    siren,
    small_cnn,
    to_module,
)
from zoovet.networks.tanh import tanh
from zoovet.readers.exported import graph_from_module
from zoovet.symmetry import random_networks

_SECONDS = 2.0
_CACHE_NUMBERS = 2**19
_KEPT_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**28), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
"""What glibc reads when a process starts."""
RESULT = Path(__file__).parent / "results" / "graph.json"
CHAINS: dict[str, tuple[Graph, int, int]] = {
    "small CNN, ReLU, 64 networks, 64 images": (small_cnn(), 64, 64),
    "small CNN, tanh, 16 networks, 256 images": (small_cnn("tanh"), 16, 256),
    "small CNN, ReLU, 1 network, 256 images": (small_cnn(), 1, 256),
    "small CNN, ReLU, 1 network, 1 image": (small_cnn(), 1, 1),
    "CNN 8-16-32-32 in colour, 16 networks, 64 images": (
        small_cnn(input_shape=(3, 32, 32), channels=(8, 16, 32, 32)),
        16,
        64,
    ),
    "SIREN, 64 networks, 784 places": (siren(), 64, 784),
    "MLP 784-100-10, 32 networks, 64 images": (mlp((784, 100, 10)), 32, 64),
}


class Block(nn.Module):
    """Two convolutions beside a shortcut without weights."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, out // width, 1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn1, self.bn2, self.extra = nn.BatchNorm2d(out), nn.BatchNorm2d(out), out - width

    def forward(self, values: Tensor) -> Tensor:
        """[N, width, H, W] to [N, out, …]."""
        result = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(values)))))
        if self.extra:
            values = functional.pad(values[:, :, ::2, ::2], (0, 0, 0, 0, self.extra // 2, self.extra // 2))
        return functional.relu(result + values)


def resnet20() -> nn.Module:
    """The ResNet-20 of CIFAR-10 (He et al. 2016, section 4.2)."""
    widths = [(16, 16)] * 3 + [(16, 32)] + [(32, 32)] * 2 + [(32, 64)] + [(64, 64)] * 2
    stem = (nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return nn.Sequential(*stem, *(Block(*each) for each in widths), *head).eval()


def ratio(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median of the ratios of pairs, more of them where they are quick; the median milliseconds of the other side."""
    for function in (ours, theirs) * 2:
        start = time.perf_counter()
        function()
    repeats = max(repeats, min(1000, int(_SECONDS / (time.perf_counter() - start))))
    ratios, times = [], []
    for index in range(repeats):
        taken = {}
        for name, function in (("ours", ours), ("theirs", theirs))[:: 1 if index % 2 else -1]:
            start = time.perf_counter()
            function()
            taken[name] = time.perf_counter() - start
        ratios.append(taken["ours"] / taken["theirs"])
        times.append(1e3 * taken["theirs"])
    return {"ratio": round(statistics.median(ratios), 3), "yardstick_ms": round(statistics.median(times), 3)}


def without_gradients(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The same in inference."""

    def call() -> Tensor:
        with torch.no_grad():
            return function()

    return call


def with_gradients(function: Callable[[], Tensor], leaves: list[Tensor]) -> Callable[[], Any]:
    """The same with gradients to weights and images."""
    return lambda: torch.autograd.grad(function().square().sum(), leaves)


def by_hand(networks: Networks, images: Tensor) -> Tensor:
    """Logits [B, N, classes] of B networks of a plain chain: its layers one after another, for graphs of no other kind.

    Some networks on some images at a time, as `run` does; images [N, ...] are shared.
    """
    chain = networks.graph.chain
    assert chain is not None
    sizes = zip(chain.layers, chain.unpooled_sizes, strict=True)
    pairs = max(1, _CACHE_NUMBERS // max(layer.out_channels * math.prod(size or (1,)) for layer, size in sizes))
    num_images = max(1, min(len(images), pairs, 1024))
    num_networks = max(1, pairs // num_images)
    parts = [torch.split(networks.parameters[name], num_networks) for name in (*chain.weights, *chain.biases)]
    rows = []
    for tensors in zip(*parts, strict=True):
        pairs_of_layers = list(zip(chain.layers, tensors, tensors[len(chain.layers) :], strict=False))
        chunks = []
        for values in torch.split(images, num_images):
            for index, (layer, weight, bias) in enumerate(pairs_of_layers):
                values = layer_by_hand(layer, weight, bias, values, shared=index == 0)
            chunks.append(values)
        rows.append(chunks[0] if len(chunks) == 1 else torch.cat(chunks, 1))
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def layer_by_hand(layer: LayerSpec, weight: Tensor, bias: Tensor, values: Tensor, *, shared: bool) -> Tensor:
    """One layer of B networks: maps [N, B · channels, height, width], else vectors [B, N, channels]; no B if shared."""
    count = len(weight)
    if layer.activation == "sine":
        weight, bias = layer.activation_parameter * weight, layer.activation_parameter * bias
    if layer.kind == "linear" and shared:
        products = functional.linear(values.flatten(1), weight.flatten(0, 1), bias.flatten())
        return activated(products, layer.activation).view(-1, count, layer.out_channels).transpose(0, 1)
    if layer.kind == "linear":
        vectors = values if values.ndim == 3 else values.reshape(len(values), count, -1).transpose(0, 1)
        return activated(torch.baddbmm(bias.unsqueeze(1), vectors, weight.transpose(1, 2)), layer.activation)
    step, groups = (layer.stride, layer.padding, layer.dilation), 1 if shared else count
    if groups > 1 and (layer.in_channels % 8 or layer.out_channels % 8):
        each = zip(values.chunk(count, 1), weight, bias, strict=True)
        maps = torch.cat([functional.conv2d(*part, *step) for part in each], 1)
    else:
        maps = functional.conv2d(values, weight.flatten(0, 1), bias.flatten(), *step, groups)
    maps = activated(maps, layer.activation)
    if layer.pool is None:
        return maps
    if layer.pool.kind == "global":
        return maps.mean((2, 3)).view(-1, count, layer.out_channels).transpose(0, 1)
    pool = functional.avg_pool2d if layer.pool.kind == "average" else functional.max_pool2d
    return pool(maps, layer.pool.kernel, layer.pool.stride, layer.pool.padding)


def activated(values: Tensor, activation: str) -> Tensor:
    """The activations of these chains."""
    if activation == "relu":
        return values.relu_()
    return {"tanh": tanh, "sine": torch.sin, "identity": lambda same: same}[activation](values)


def chain_figures(graph: Graph, num_networks: int, num_images: int, repeats: int) -> dict[str, Any]:
    """The ratios of one chain."""
    generator = torch.Generator().manual_seed(0)
    networks = random_networks(graph, num_networks, generator, dtype=torch.float32)
    modules = [to_module(network) for network in networks]
    images = torch.randn(num_images, *graph.input_shape, generator=generator)

    def one_by_one() -> Tensor:
        return torch.stack([module(images) for module in modules])

    def ours() -> Tensor:
        return run(networks, images)

    def former() -> Tensor:
        return by_hand(networks, images)

    torch.testing.assert_close(ours(), former(), rtol=1e-4, atol=1e-5)
    plain = ratio(without_gradients(ours), without_gradients(one_by_one), repeats)
    hand = ratio(without_gradients(ours), without_gradients(former), repeats)
    leaves = [tensor.requires_grad_() for tensor in (*networks.parameters.values(), images)]
    others = [images, *(parameter for module in modules for parameter in module.parameters())]
    step = ratio(with_gradients(ours, leaves), with_gradients(one_by_one, others), repeats)
    hand_step = ratio(with_gradients(ours, leaves), with_gradients(former, leaves), repeats)
    return {**plain, "with_gradients": step, "by_hand": {**hand, "with_gradients": hand_step}}


def resnet_figures(num_images: int, repeats: int) -> dict[str, Any]:
    """ResNet-20 for one network."""
    torch.manual_seed(0)
    module = resnet20()
    networks = graph_from_module(module, (3, 32, 32))
    images = torch.randn(num_images, 3, 32, 32)
    both = without_gradients(lambda: module(images))
    folded = fold_batch_norms(networks)
    plain = ratio(without_gradients(lambda: run(networks, images)[0]), both, repeats)
    lighter = ratio(without_gradients(lambda: run(folded, images)[0]), both, repeats)
    images.requires_grad_()
    learned = [tensor for name, tensor in networks.parameters.items() if "running" not in name]
    leaves = [images, *(tensor.requires_grad_() for tensor in learned)]
    step = ratio(
        with_gradients(lambda: run(networks, images)[0], leaves),
        with_gradients(lambda: module(images), [images, *module.parameters()]),
        repeats,
    )
    return {**plain, "folded": lighter, "with_gradients": step}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in _KEPT_MEMORY.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **_KEPT_MEMORY})
    torch.set_num_threads(arguments.threads)
    figures: dict[str, Any] = {}
    for name, (graph, num_networks, num_images) in CHAINS.items():
        figures[name] = chain_figures(graph, num_networks, num_images, arguments.repeats)
        print(f"{name}: {figures[name]}", flush=True)
    for num_images in (1, 64):
        name = f"ResNet-20 against its module, {num_images} images"
        figures[name] = resnet_figures(num_images, arguments.repeats)
        print(f"{name}: {figures[name]}", flush=True)
    RESULT.write_text(json.dumps({"threads": arguments.threads, "figures": figures}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
