"""What ResNet-18 takes through ScaleGMN: memory and seconds, in units of one matrix product of its edges.

torchvision's (images of 224 × 224) and the one for CIFAR-10 (32 × 32), with batch norms folded and random weights, go
as one network through a bidirectional ScaleGMN of width 32 and 4 rounds, without gradients, each in a process of its
own. The yardsticks: 4 GB for the whole process's largest resident set, Python and torch included; and one `F.linear` of
as many rows as the network has edges by 32 × 32, timed in the same process. Exit status 1 where it takes more.

    python benchmarks/resnet18.py [--repeats 3] [--threads 1]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoovet import ScaleGMN, ScaleGMNConfig, from_module
from zoovet.metanets.graph_structure import graph_structure

RESULT = Path(__file__).parent / "results" / "resnet18.json"
FORMS = {"imagenet": (3, 224, 224), "cifar": (3, 32, 32)}
LIMIT_GB = 4.0


class Block(nn.Module):
    """Two convolutions beside the identity, or a 1×1 convolution."""

    def __init__(self, incoming: int, out: int) -> None:
        super().__init__()
        stride = 1 if incoming == out else 2
        self.conv1 = nn.Conv2d(incoming, out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(out), nn.BatchNorm2d(out)
        self.short = nn.Sequential()
        if stride == 2:
            self.short = nn.Sequential(nn.Conv2d(incoming, out, 1, 2, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """[N, incoming, H, W] to [N, out, …]."""
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.short(x))


def resnet18(form: str) -> nn.Module:
    """He et al. 2016, table 1 (``imagenet``); or with a 3×3 stem of stride 1, no pooling and 10 classes (``cifar``)."""
    stem: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    if form == "imagenet":
        stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    widths = [(64, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000 if form == "imagenet" else 10)]
    return nn.Sequential(*stem, *(Block(*each) for each in widths), *head).eval()


def measured(form: str, repeats: int) -> dict[str, Any]:
    """One form's figures."""
    torch.manual_seed(0)
    networks = from_module(resnet18(form), FORMS[form]).networks
    assert networks is not None
    model = ScaleGMN(ScaleGMNConfig(width=32), torch.Generator().manual_seed(0)).eval()
    blocks = graph_structure(networks.graph).blocks
    edges = sum(block.cells * block.num_targets * block.num_sources for block in blocks)
    rows, weight = torch.randn(edges, 32), torch.randn(32, 32)
    seconds, units = [], []
    with torch.no_grad():
        F.linear(rows, weight)
        for _ in range(repeats):
            start = time.perf_counter()
            F.linear(rows, weight)
            units.append(time.perf_counter() - start)
            start = time.perf_counter()
            model(networks)
            seconds.append(time.perf_counter() - start)
    return {
        "form": form,
        "edges": edges,
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "limit_gb": LIMIT_GB,
        "seconds": round(statistics.median(seconds), 2),
        "units": round(statistics.median(seconds) / statistics.median(units), 1),
        "threads": torch.get_num_threads(),
    }


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", choices=FORMS, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.child:
        print(json.dumps(measured(arguments.child, arguments.repeats)))
        return 0
    figures = []
    for form in FORMS:
        command = [sys.executable, __file__, "--child", form, "--repeats", str(arguments.repeats)]
        done = subprocess.run(
            [*command, "--threads", str(arguments.threads)], check=True, stdout=subprocess.PIPE, text=True
        )
        figures.append(json.loads(done.stdout))
        print(done.stdout, end="", flush=True)
    RESULT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return int(any(one["peak_memory_gb"] > LIMIT_GB for one in figures))


if __name__ == "__main__":
    sys.exit(main())
