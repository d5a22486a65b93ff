"""Tests of single networks (Neural Cleanse, MM-BD, Pixel, BTI-DBF, FreeEagle, trojan signatures): how long, how well.

    python benchmarks/single_network.py                                         seconds of each on one small ResNet
    python benchmarks/single_network.py --zoo zoos/park --out scores.parquet    scores of a zoo's validation networks

Without a zoo: one network with batch norms, residual blocks of 8, 16 and 32 channels and 32 x 32 pixels in colour, of
random weights, 60 images of noise, reduced settings; processor seconds, and as multiples of MM-BD's in the same run.

With a zoo: a row a network and test (see zoovet.benchmark.single_network), then AUC and the share of trojaned networks
whose target is named. What the file holds is not done again, so that a stopped run goes on. Several processes share the
work by --share 0/2 and --share 1/2, with a file each.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

import zoovet
from zoovet.benchmark.single_network import ReferenceChoice, score_networks
from zoovet.config import read_config
from zoovet.evidence import RunnableGraphs
from zoovet.images import Images
from zoovet.images.sources import ImageSource, load_source
from zoovet.networks import Networks, fold_batch_norms
from zoovet.rivals.single_network import SINGLE_NETWORK_TESTS, single_network_test
from zoovet.zoo import Zoo
from zoovet.zoo.builders import trojan_recipe_of
from zoovet.zoo.image_arrays import load_images

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


def images_of(zoo: Zoo, data_root: Path | None) -> dict[str, Images]:
    """A row's ``dataset`` → test images."""
    blocks = zoo.recipe.get("images")
    if isinstance(blocks, list):
        sources = {block["name"]: read_config(ImageSource, block["images"]) for block in blocks}
        return {name: load_source(source, data_root)[1] for name, source in sources.items()}
    return {zoo.column("dataset")[0]: load_images(trojan_recipe_of(zoo), data_root).test}


def show_figures(zoo: Zoo, out: Path, min_asr: float) -> None:
    """AUC, targets named and seconds, by test; trojaned networks of a lower ASR are left out."""
    places = {name: place for place, name in enumerate(zoo.column("network_id"))}
    rows = [row for row in pq.read_table(out).to_pylist() if row["network_id"] in places and row["score"] is not None]
    for name in sorted({row["test"] for row in rows}):
        found = [(row, places[row["network_id"]]) for row in rows if row["test"] == name]
        index = np.array([place for _, place in found])
        trojaned, scores = zoo.column("poisoned")[index].astype(bool), np.array([row["score"] for row, _ in found])
        hits = np.array([row["target"] for row, _ in found]) == zoo.column("target")[index]
        counts = ~trojaned | (zoo.column("asr")[index] >= min_asr)
        auc = roc_auc_score(trojaned[counts], scores[counts]) if len(set(trojaned[counts])) == 2 else np.nan
        named = hits[counts & trojaned].mean() if (counts & trojaned).any() else np.nan
        seconds = np.mean([row["seconds"] for row, _ in found])
        print(f"{name:18s} AUC {auc:.3f} on {counts.sum()} networks, target named {named:.2f}, {seconds:.1f} s")


def main() -> None:
    """Measure seconds, or score a zoo's networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--split", default="validation", choices=("train", "validation", "test"))
    parser.add_argument("--bases", type=int, help="only so many bases")
    parser.add_argument("--share", default="0/1", help="which part of the bases: 0/2 and 1/2 are all")
    parser.add_argument("--tests", nargs="+", default=list(SINGLE_NETWORK_TESTS))
    parser.add_argument("--effort", default="reduced", choices=("reduced", "paper"))
    parser.add_argument("--images-per-class", type=int, default=6)
    parser.add_argument("--min-asr", type=float, default=0.5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.zoo is None:
        RESULT.write_text(json.dumps(measured_seconds(), indent=2) + "\n")
        return
    if options.out is None:
        parser.error("--zoo needs --out, a Parquet file")
    zoo = Zoo.open(options.zoo, finished_only=True).split(options.split)
    bases = np.unique(zoo.column("base_id"))[: options.bases]
    part, num_parts = map(int, options.share.split("/"))
    zoo = zoo.select(np.isin(zoo.column("base_id"), bases[part::num_parts]))
    score_networks(
        zoo,
        images_of(zoo, options.data_root),
        {name: single_network_test(name, options.effort) for name in options.tests},
        options.out,
        reference=ReferenceChoice(images_per_class=options.images_per_class),
        progress=lambda done, count: print(f"\r{done} of {count} networks", end="", flush=True),
    )
    print()
    show_figures(zoo, options.out, options.min_asr)


if __name__ == "__main__":
    main()
