"""Training images per second of `zoovet build` against a plain PyTorch loop, in one run.

The plain loop is what one would write: one small CNN at a time, batch 128, Adam, all cores, data in memory. The build
is the real one, through worker processes, with everything it does: drawing, poisoning, evaluation on all test images,
writing. Its rate counts the training images of the networks that are in the finished zoo (those of rejected draws are
work, not yield) over the time from the first finished network to the last, and, as a second figure, over all of the
wall time, process starts included.

With a device, the networks of a build of its own are also trained side by side on it, by `zoovet build --device`: its
rate counts in the same way, over the time from when its process has loaded the images to the last network. It is
compared with both figures of processors, which then have as many threads as there are workers. Its kernels are
compiled before, as the plain loop is warmed up.

    python benchmarks/factory.py [--workers 2] [--bases 48] [--repeats 3]
    python benchmarks/factory.py --device cuda [--device-bases 1500]
    python benchmarks/factory.py --device cpu-side-by-side --device-bases 1 --bases 4 --repeats 1   # does it run?
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from zoovet.images import load_dataset
from zoovet.zoo import BuildProgress, TrojanRecipe, Zoo, build_zoo

RESULTS = Path(__file__).parent / "results"
DEVICES = {"cuda": "cuda", "cpu-side-by-side": "cpu"}


def plain_loop(images: torch.Tensor, labels: torch.Tensor) -> float:
    """Training images per second of one epoch, one network, all of torch's threads."""
    module = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    start = time.perf_counter()
    for batch in torch.randperm(len(images)).split(128):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images[batch]), labels[batch]).backward()
        optimizer.step()
    return len(images) / (time.perf_counter() - start)


def images_trained(zoo: Zoo) -> np.ndarray:
    """Training images each network saw; a base's own training is counted once, with its healthy network."""
    size = min(zoo.recipe["train_images"], 60_000)
    tuned = zoo.column("finetune_epochs") * size
    base = zoo.column("epochs") * np.round(zoo.column("train_fraction") * size)
    trained: np.ndarray = np.where(zoo.column("poisoned"), tuned, tuned + base)
    return trained


def build(recipe: TrojanRecipe, workers: int) -> tuple[float, float]:
    """Training images per second of a build: while it works, and with the start of its processes."""
    reports: list[BuildProgress] = []
    with tempfile.TemporaryDirectory() as folder:
        zoo = build_zoo(recipe, Path(folder) / "zoo", workers=workers, progress=reports.append)
        trained = images_trained(zoo)
    first = next(report for report in reports if report.num_networks)
    share = 1 - first.num_networks / reports[-1].num_networks
    return trained.sum() * share / (reports[-1].seconds - first.seconds), trained.sum() / reports[-1].seconds


def build_side_by_side(recipe: TrojanRecipe, device: str) -> tuple[float, float]:
    """Training images per second of a build on a device: while it works, and with the start of its process."""
    reports: list[BuildProgress] = []
    with tempfile.TemporaryDirectory() as folder:
        zoo = build_zoo(recipe, Path(folder) / "zoo", side_by_side=device, progress=reports.append)
        trained = images_trained(zoo).sum()
    _, ready, *_, last = reports
    return trained / (last.seconds - ready.seconds), trained / last.seconds


def measure_device(name: str, num_bases: int, repeats: int, figures: dict[str, float]) -> dict[str, object]:
    """Figures of builds on a device, medians, and their ratios to those of processors."""
    recipe = TrojanRecipe(num_bases=num_bases, seed=1)
    if name == "cuda":
        build_side_by_side(TrojanRecipe(num_bases=16, seed=2), DEVICES[name])  # kernels are compiled at first use
    runs = [build_side_by_side(recipe, DEVICES[name]) for _ in range(repeats)]
    for run in runs:
        print(f"{name}: {run[0]:,.0f} images a second, {run[1]:,.0f} with the start of its process")
    rate, wall = (statistics.median(values) for values in zip(*runs, strict=True))
    return {
        "device": torch.cuda.get_device_name() if name == "cuda" else name,
        "device_num_bases": num_bases,
        "device_slowest_and_fastest": [round(min(runs)[0]), round(max(runs)[0])],
        "device_images_per_second": round(rate),
        "device_images_per_second_with_start": round(wall),
        "device_over_plain_loop": round(rate / figures["plain_loop_images_per_second"], 2),
        "device_over_build": round(rate / figures["build_images_per_second"], 2),
        "device_over_build_with_start": round(wall / figures["build_images_per_second_with_start"], 2),
    }


def main() -> None:
    """Measure, print, and write ``results/factory.json``, or ``results/factory_DEVICE.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--bases", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=tuple(DEVICES))
    parser.add_argument("--device-bases", type=int, default=1500)
    arguments = parser.parse_args()
    if arguments.device is not None:
        torch.set_num_threads(arguments.workers)
    train = load_dataset("fashion-mnist", "train")
    images, labels = train.scaled()[:10_000], train.labels[:10_000]
    recipe = TrojanRecipe(num_bases=arguments.bases, bases_per_shard=4, seed=1)
    plain_loop(images, labels)
    loops, builds, walls = [], [], []
    for _ in range(arguments.repeats):
        loops += [plain_loop(images, labels) for _ in range(5)]
        rate, wall = build(recipe, arguments.workers)
        builds.append(rate)
        walls.append(wall)
        print(
            f"{arguments.workers} workers: {rate:,.0f} images a second, {wall:,.0f} with the start of their processes"
        )
    figures: dict[str, Any] = {
        "workers": arguments.workers,
        "plain_loop_images_per_second": round(statistics.median(loops)),
        "build_images_per_second": round(statistics.median(builds)),
        "build_images_per_second_with_start": round(statistics.median(walls)),
        "ratio": round(statistics.median(builds) / statistics.median(loops), 2),
        "ratio_with_start": round(statistics.median(walls) / statistics.median(loops), 2),
        "repeats": arguments.repeats,
        "num_bases": arguments.bases,
    }
    name = "factory"
    if arguments.device is not None:
        name = f"factory_{arguments.device}"
        figures |= measure_device(arguments.device, arguments.device_bases, arguments.repeats, figures)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
    for name, value in figures.items():
        print(f"{name:38} {value}")


if __name__ == "__main__":
    main()
