"""SIRENs per second of `zoovet build` against a plain PyTorch loop, in one run, and how good their pictures are.

SIRENs 2-32-32-1 are fitted to Fashion-MNIST images (28 × 28) by 1,000 steps of Adam on all pixels. The plain loop is
what one would write: one SIREN after the other, `torch.nn` and `torch.optim.Adam`. It runs with all cores and, since
threads that wait for each other suffer most where others use the machine, with one; the ratio is to the best of all
its runs. The build is the real one, through worker processes, with everything it does: drawing, measuring PSNR,
writing. Its rate is over the time from the first finished SIRENs to the last, and, as a second figure, over all of the
wall time, process starts included; the median of the repeats counts.

    python benchmarks/inr_fitting.py [--workers 2] [--images 320] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from zoovet.images import load_dataset
from zoovet.networks import Sine
from zoovet.zoo import BuildProgress, InrRecipe, build_zoo
from zoovet.zoo.inr_pictures import OFFSET, coordinates

RESULT = Path(__file__).parent / "results" / "inr_fitting.json"


def plain_loop(targets: torch.Tensor, steps: int, learning_rate: float, threads: int) -> tuple[float, float]:
    """SIRENs per second and mean PSNR of fits to pictures [n, pixels, 1], one after the other."""
    torch.set_num_threads(threads)
    places, start, values = coordinates(28, 28), time.perf_counter(), []
    for target in targets:
        module = nn.Sequential(nn.Linear(2, 32), Sine(), nn.Linear(32, 32), Sine(), nn.Linear(32, 1))
        with torch.no_grad():
            module[0].weight.uniform_(-1 / 2, 1 / 2)
            for layer in (module[2], module[4]):
                layer.weight.uniform_(-((6 / 32) ** 0.5) / 30, (6 / 32) ** 0.5 / 30)
        optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(module(places), target)
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            values.append(-10 * float(torch.log10(nn.functional.mse_loss(module(places), target))))
    return len(targets) / (time.perf_counter() - start), statistics.mean(values)


def build(recipe: InrRecipe, workers: int) -> tuple[float, float, float, float]:
    """SIRENs per second of a build, while it works and with the start of its processes; mean and least PSNR."""
    reports: list[BuildProgress] = []
    with tempfile.TemporaryDirectory() as folder:
        zoo = build_zoo(recipe, Path(folder) / "zoo", workers=workers, progress=reports.append)
        values = zoo.column("psnr")
    first = next(report for report in reports if report.num_networks)
    rate = (len(zoo) - first.num_networks) / (reports[-1].seconds - first.seconds)
    return rate, len(zoo) / reports[-1].seconds, float(values.mean()), float(values.min())


def main() -> None:
    """Measure, print, and write ``results/inr_fitting.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    recipe = InrRecipe(num_images=arguments.images, images_per_shard=16, seed=1)
    images = load_dataset("fashion-mnist", "train").pixels[:2]
    targets = (images / 255 - OFFSET).flatten(2).transpose(1, 2).contiguous()
    cores = len(os.sched_getaffinity(0))
    loops: dict[int, list[tuple[float, float]]] = {1: [], cores: []}
    builds = []
    for _ in range(arguments.repeats):
        builds.append(build(recipe, arguments.workers))
        for threads, found in loops.items():
            plain_loop(targets[:1], 20, recipe.learning_rate, threads)
            found.append(plain_loop(targets, recipe.steps, recipe.learning_rate, threads))
    rates, walls, means, leasts = (list(column) for column in zip(*builds, strict=True))
    best = {threads: max(rate for rate, _ in found) for threads, found in loops.items()}
    loop_rate = max(best.values())
    figures = {
        "workers": arguments.workers,
        "cores": cores,
        "plain_loop_sirens_per_second_all_cores": round(best[cores], 3),
        "plain_loop_sirens_per_second_one_thread": round(best[1], 3),
        "build_sirens_per_second": round(statistics.median(rates), 2),
        "build_sirens_per_second_with_start": round(statistics.median(walls), 2),
        "ratio": round(statistics.median(rates) / loop_rate, 1),
        "ratio_with_start": round(statistics.median(walls) / loop_rate, 1),
        "mean_psnr": round(means[0], 2),
        "least_psnr": round(min(leasts), 2),
        "plain_loop_mean_psnr": round(statistics.mean(value for found in loops.values() for _, value in found), 2),
        "steps": recipe.steps,
        "num_images": arguments.images,
        "repeats": arguments.repeats,
        "load_average_at_end": round(os.getloadavg()[0], 1),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    for name, value in figures.items():
        print(f"{name:38} {value}")


if __name__ == "__main__":
    main()
