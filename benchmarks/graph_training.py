"""Training many networks of a graph against a plain PyTorch loop, in one run.

The plain loop is what one would write: one network after another, batch 128, Adam, all cores, channels last, data in
memory. Ours trains as many networks side by side as there are workers, each in a process of its own on one thread.
Networks: a ResNet-8 with batch norms (8-16-32 channels) and a depthwise-separable net with batch norms, on 3 × 32 × 32,
and the plain chain of the trojan zoos on 1 × 28 × 28. Both train on the same images, in turns; medians are compared.

Where others work on the machine too, a loop on all cores loses more than processes of one thread do. So the load is
printed, and a second ratio, of images for each second of processor time: that of the loop is taken on one thread, as
if it lost nothing on several.

    python benchmarks/graph_training.py [--workers 2] [--repeats 5] [--images 2048]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from zoovet.networks import Graph, small_cnn
from zoovet.readers.exported.modules import graph_from_module
from zoovet.zoo.samples import OptimizerMemory, Samples, Schedule
from zoovet.zoo.training import initial_weights, network_trainer

RESULTS = Path(__file__).parent / "results" / "graph_training.json"
YARDSTICKS = {"resnet8": 2.5, "depthwise": 2.5, "plain": 5.0}
SCHEDULE = Schedule(optimizer="adam", learning_rate=1e-3, weight_decay=0.0, dropout=0.0, batch_size=128, epochs=1)


class Block(nn.Module):
    """Two convolutions and what goes past them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = norm_conv(before, after, 3, stride), norm_conv(after, after, 3)
        self.past = norm_conv(before, after, 1, stride) if before != after else nn.Identity()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] to maps."""
        return functional.relu(self.second(functional.relu(self.first(maps))) + self.past(maps))


def norm_conv(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution without bias, and a batch norm."""
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after))


def resnet8() -> nn.Module:
    """8, 16 and 32 channels, a block each."""
    blocks = (Block(8, 8, 1), Block(8, 16, 2), Block(16, 32, 2))
    return nn.Sequential(
        norm_conv(3, 8, 3), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
    )


def depthwise() -> nn.Module:
    """Four depthwise-separable layers."""
    layers: list[nn.Module] = [norm_conv(3, 16, 3), nn.ReLU()]
    for before, after, stride in ((16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2)):
        layers += [
            norm_conv(before, before, 3, stride, groups=before),
            nn.ReLU(),
            norm_conv(before, after, 1),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def plain() -> nn.Module:
    """The trojan zoos' small CNN."""
    layers: list[nn.Module] = []
    for before in (1, 16, 16):
        layers += [nn.Conv2d(before, 16, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


MODULES = {"resnet8": resnet8, "depthwise": depthwise, "plain": plain}


def graph_of(name: str) -> Graph:
    """The graph that is trained."""
    return small_cnn("relu") if name == "plain" else graph_from_module(MODULES[name]().eval(), (3, 32, 32)).graph


def loop(name: str, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Training images a second, and a second of the processor, of a plain loop over one epoch."""
    module = MODULES[name]()
    torch.nn.utils.convert_conv2d_weight_memory_format(module, torch.channels_last)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    images = images.to(memory_format=torch.channels_last)
    start, start_processor = time.perf_counter(), time.process_time()
    for batch in torch.randperm(len(images)).split(128):
        optimizer.zero_grad()
        functional.cross_entropy(module(images[batch]), labels[batch]).backward()
        optimizer.step()
    return len(images) / (time.perf_counter() - start), len(images) / (time.process_time() - start_processor)


def train(name: str, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """As :func:`loop`, of one network on one thread; in a worker."""
    torch.set_num_threads(1)
    graph = graph_of(name)
    trainer, generator = network_trainer(graph), np.random.default_rng(0)
    parameters = trainer.pack(initial_weights(graph, "he", 0.1, generator))
    samples = Samples(images, images[:0], np.arange(len(images), dtype=np.int32), labels)
    start, start_processor = time.perf_counter(), time.process_time()
    trainer.train(parameters, OptimizerMemory.fresh(parameters), samples, SCHEDULE, 0)
    return len(images) / (time.perf_counter() - start), len(images) / (time.process_time() - start_processor)


def measure(name: str, num_images: int, workers: int, repeats: int) -> dict[str, float]:
    """Medians of a network's figures, and their ratio."""
    shape = (1, 28, 28) if name == "plain" else (3, 32, 32)
    if name == "plain":
        num_images *= 8
    generator = np.random.default_rng(0)
    images = generator.normal(size=(num_images, *shape)).astype(np.float32)
    labels = generator.integers(10, size=num_images).astype(np.int32)
    start = time.perf_counter()
    network_trainer(graph_of(name))
    compiling = time.perf_counter() - start
    shown, targets = torch.from_numpy(images), torch.from_numpy(labels).long()
    loop(name, shown[:256], targets[:256])
    loops, loops_processor, ours, ours_processor = [], [], [], []
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(train, [name] * workers, [images[:256]] * workers, [labels[:256]] * workers))
        for _ in range(repeats):
            loops.append(loop(name, shown, targets)[0])
            torch.set_num_threads(1)
            loops_processor.append(loop(name, shown, targets)[1])
            torch.set_num_threads(workers)
            rates = list(pool.map(train, [name] * workers, [images] * workers, [labels] * workers))
            ours.append(sum(rate for rate, _ in rates))
            ours_processor += [rate for _, rate in rates]
    rate, loop_rate = statistics.median(ours), statistics.median(loops)
    of_processor, loop_of_processor = statistics.median(ours_processor), statistics.median(loops_processor)
    return {
        "images_per_second": round(rate),
        "loop_images_per_second": round(loop_rate),
        "ratio": round(rate / loop_rate, 2),
        "images_per_processor_second": round(of_processor),
        "loop_images_per_processor_second": round(loop_of_processor),
        "processor_ratio": round(of_processor / loop_of_processor, 2),
        "yardstick": YARDSTICKS[name],
        "seconds_to_compile_or_load": round(compiling, 1),
    }


def main() -> None:
    """Measure, print, and write ``results/graph_training.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--networks", nargs="+", choices=tuple(MODULES), default=tuple(MODULES))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.workers)
    figures: dict[str, object] = {"workers": arguments.workers, "repeats": arguments.repeats}
    figures["load_before"] = [round(load, 1) for load in os.getloadavg()]
    for name in arguments.networks:
        figures[name] = measure(name, arguments.images, arguments.workers, arguments.repeats)
        print(name, figures[name])
    figures["load_after"] = [round(load, 1) for load in os.getloadavg()]
    print(f"load {figures['load_before']} before, {figures['load_after']} after")
    if set(arguments.networks) == set(MODULES):
        RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
