"""`zoovet scan` of many files against scoring them one after another through PyTorch, as it did at first.

Files are networks of a shipped detector's graph. The yardstick opens each file, and scores it alone, with as many
threads as PyTorch takes by itself; it does so for some of the files, and its time for all of them follows. The command
is timed as a whole, from its start. Prints JSON:

  python benchmarks/scan.py --files zoo-networks/ > benchmarks/results/scan.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from zoovet import Detector, Networks, load_networks, save_networks

MODEL = "fashion-mnist-small-cnn"


def draw_files(folder: Path, count: int) -> list[Path]:
    """Networks with random weights: what they compute takes as long as what trained ones do."""
    graph, generator = Detector.shipped(MODEL).graphs[0], torch.Generator().manual_seed(0)
    paths = [folder / f"{index:04d}.safetensors" for index in range(count)]
    for path in paths:
        flat = 0.2 * torch.randn(1, graph.num_parameters, generator=generator)
        save_networks(Networks.from_flat(graph, flat), path)
    return paths


def one_after_another(paths: Sequence[Path]) -> tuple[list[float], float, float]:
    """Scores, wall seconds and CPU seconds of the yardstick; its start is left out."""
    torch.set_flush_denormal(True)
    detector = Detector.shipped(MODEL)
    wall, cpu, scores = time.perf_counter(), time.process_time(), list[float]()
    for path in paths:
        networks = load_networks(path)
        scores.append(float(detector.score(networks)))
        detector.in_distribution(networks)
        detector.out_of_distribution(networks)
    return scores, time.perf_counter() - wall, time.process_time() - cpu


def by_command(paths: Sequence[Path], workers: int) -> tuple[dict[str, float], float, float]:
    """Scores by file, wall seconds and CPU seconds of all processes of the command, its start included."""
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "zoovet", "scan", *map(str, paths), "--model", MODEL, "--json"]
    done = subprocess.run([*command, "--workers", str(workers)], capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    data = json.loads(done.stdout)
    assert not data["errors"], data["errors"][:3]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {verdict["file"]: verdict["score"] for verdict in data["verdicts"]}, seconds, cpu


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=Path, help="folder of networks, one a file; drawn where left out")
    parser.add_argument("--count", type=int, default=200, help="files that are scanned")
    parser.add_argument("--alone", type=int, default=20, help="files that the yardstick takes")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        given = sorted(arguments.files.glob("*.safetensors")) if arguments.files else []
        paths = (given or draw_files(Path(scratch), arguments.count))[: arguments.count]
        load = os.getloadavg()[0]
        few = paths[:: max(1, len(paths) // arguments.alone)]
        scores, wall, cpu = one_after_another(few)
        found, command_wall, command_cpu = by_command(paths, arguments.workers)
    seconds_alone, cpu_alone = wall / len(few) * len(paths), cpu / len(few) * len(paths)
    deviation = max(abs(found[str(path)] - score) for path, score in zip(few, scores, strict=True))
    result = {
        "machine": {"cores": os.cpu_count(), "processor": platform.processor(), "load_before": round(load, 2)},
        "model": MODEL,
        "num_files": len(paths),
        "are_trained": bool(given),
        "one_after_another": {
            "num_measured": len(few),
            "threads": torch.get_num_threads(),
            "seconds_for_all": round(seconds_alone, 1),
            "cpu_seconds_for_all": round(cpu_alone, 1),
        },
        "command": {
            "workers": arguments.workers,
            "seconds": round(command_wall, 1),
            "cpu_seconds": round(command_cpu, 1),
        },
        "ratio": round(seconds_alone / command_wall, 2),
        "cpu_ratio": round(cpu_alone / command_cpu, 2),
        "largest_difference_of_scores": deviation,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
