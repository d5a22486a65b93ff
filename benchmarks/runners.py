"""Throughput of `zoovet build` on a Ray cluster of this machine against processes, in one run.

The same recipe (digits, four bases a shard) is built by two processes and by a cluster of two nodes of one core each,
alternately. A rate is networks a second from the first finished shard to the last, so that the starts of processes do
not count; on a cluster networks are told of shard by shard. Both zoos must have the same bytes.

    python benchmarks/runners.py [--workers 2] [--bases 60] [--repeats 3]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from zoovet.config import read_config
from zoovet.jobs import Processes, RayCluster, Runner
from zoovet.zoo import BuildProgress, TrojanRecipe, build_zoo

RESULTS = Path(__file__).parent / "results" / "runners.json"


def rate(recipe: TrojanRecipe, out: Path, runner: Runner) -> float:
    """Networks a second, from the first that got done to the last."""
    seen: list[tuple[float, int]] = []

    def progress(told: BuildProgress) -> None:
        if told.num_networks % 8 == 0 and told.num_networks:
            seen.append((time.perf_counter(), told.num_networks))

    build_zoo(recipe, out, runner=runner, progress=progress)
    (start, first), (end, last) = seen[runner.num_workers], seen[-1]
    return (last - first) / (end - start)


def digest(folder: Path) -> str:
    """Of all files of a zoo."""
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        found.update(path.read_bytes())
    return found.hexdigest()


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--bases", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    values = {"dataset": "digits", "num_bases": arguments.bases, "bases_per_shard": 4, "min_asr": 0.1}
    recipe = read_config(TrojanRecipe, {**values, "min_clean_accuracy": 0.2, "train_images": 1400, "test_images": 300})
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # as processes have: Ray's stand back for all others
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(arguments.workers - 1):
        cluster.add_node(num_cpus=1)
    runners: dict[str, Runner] = {
        "processes": Processes(arguments.workers),
        "ray": RayCluster(cluster.address, arguments.workers),
    }
    rates: dict[str, list[float]] = {name: [] for name in runners}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(arguments.repeats):
            digests = set()
            for name, runner in runners.items():
                out = Path(folder) / f"{name}-{repeat}"
                rates[name].append(rate(recipe, out, runner))
                digests.add(digest(out))
                print(f"{name}: {rates[name][-1]:.2f} networks/s", flush=True)
            assert len(digests) == 1, "the zoos differ"
    ray.shutdown()
    cluster.shutdown()
    ratio = statistics.median(one / other for one, other in zip(rates["ray"], rates["processes"], strict=True))
    found = {"networks_per_second": rates, "ratio": ratio, "bases": arguments.bases, "workers": arguments.workers}
    print(json.dumps(found, indent=2))
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
