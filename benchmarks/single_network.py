"""Tests of single networks (Neural Cleanse, MM-BD, Pixel, BTI-DBF, FreeEagle, trojan signatures): how long each takes.

    python benchmarks/single_network.py

One network with batch norms, residual blocks of 8, 16 and 32 channels and 32 x 32 pixels in colour, of random weights,
60 images of noise, reduced settings; processor seconds, and as multiples of MM-BD's in the same run. How well they tell
networks: ``zoovet bench configs/bench/strangers.yaml``.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import zoovet
from zoovet.evidence import RunnableGraphs
from zoovet.networks import Networks, fold_batch_norms
from zoovet.rivals.single_network import SINGLE_NETWORK_TESTS, single_network_test

RESULT = Path(__file__).parent / "results" / "single_network.json"
YARDSTICK = "mm_bd"


class Block(nn.Module):
    """Two convolutions with batch norms beside a shortcut."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = after // before
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
        self.shortcut = nn.Conv2d(before, after, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] to [N, after, H, W], or half the size where channels double."""
        hidden = functional.relu(self.norm1(self.conv1(images)))
        return functional.relu(self.norm2(self.conv2(hidden)) + self.shortcut(images))


def small_resnet() -> RunnableGraphs:
    """The network that seconds are of."""
    torch.manual_seed(0)
    stem = (nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    blocks = (Block(8, 8), Block(8, 16), Block(16, 32))
    module = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)).eval()
    network = zoovet.from_module(module, input_shape=(3, 32, 32), scaling="symmetric")
    assert network.networks is not None
    assert network.graph is not None
    return RunnableGraphs(fold_batch_norms(Networks(network.graph, network.networks.parameters)))


def measured_seconds() -> dict[str, Any]:
    """Of each test, on one network."""
    network = small_resnet()
    images = 2 * torch.rand(60, 3, 32, 32, generator=torch.Generator().manual_seed(0)) - 1
    labels, seconds = torch.arange(60) % 10, {}
    for name in SINGLE_NETWORK_TESTS:
        start = time.process_time()
        single_network_test(name).test(network, images, labels)
        seconds[name] = time.process_time() - start
        print(f"{name:18s} {seconds[name]:6.1f} s", flush=True)
    return {
        name: {"seconds": round(value, 2), f"times_{YARDSTICK}": round(value / seconds[YARDSTICK], 3)}
        for name, value in seconds.items()
    }


def main() -> None:
    """Measure seconds, and keep them."""
    torch.set_num_threads(1)
    RESULT.write_text(json.dumps(measured_seconds(), indent=2) + "\n")


if __name__ == "__main__":
    main()
