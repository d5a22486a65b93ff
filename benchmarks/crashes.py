"""Builds that are killed at random moments end with the same zoo, whichever runner does them: how often.

A build is begun again and again by the same command. At a random moment SIGKILL goes to the whole build, or to one of
its worker processes alone (which a build survives by itself; inline there is none). At the end the zoo must have the
bytes of one that was never disturbed. For Ray a cluster of two cores is started on this machine, and ended.

    python benchmarks/crashes.py [--kills 20] [--seed 0] [--runners inline processes ray] [--recipes plain park]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

RESULTS = Path(__file__).parent / "results" / "crashes.json"
RECIPES = {
    "plain": {
        "kind": "trojan",
        "dataset": "digits",
        "num_bases": 24,
        "channels": [8, 8],
        "train_images": 400,
        "test_images": 100,
        "min_clean_accuracy": 0.2,
        "min_asr": 0.1,
        "bases_per_shard": 1,
        "seed": 3,
    },
    "park": {
        "kind": "park",
        "num_bases": 16,
        "round_bases": 4,
        "images": [{"name": "digits", "images": {"source": "digits"}, "min_clean_accuracy": 0.3}],
        "architectures": [{"family": "mlp", "depth": [1, 1], "width": [16, 16], "norm": ["none"]}, {"family": "plain"}],
        "training": {"images": [300, 400], "epochs": [3, 4], "tuning_epochs": [2, 3]},
        "test_images": 100,
        "max_accuracy_loss": 1.0,
        "min_asr": 0.2,
        "bases_per_shard": 1,
        "seed": 3,
    },
}


RUNNERS = ("inline", "processes", "ray")
INLINE = """
import sys
from zoovet.config import read_yaml
from zoovet.jobs import Inline
from zoovet.zoo import build_zoo
from zoovet.zoo.builders import recipe_of
build_zoo(recipe_of(read_yaml(sys.argv[1])), sys.argv[2], runner=Inline())
"""


@dataclass(frozen=True)
class Runner:
    """Who builds.

    Attributes:
        name: One of :data:`RUNNERS`.
        address: Of Ray's cluster.
        raylet: The process whose children Ray's workers are.
    """

    name: str
    address: str = ""
    raylet: int = 0

    def command(self, recipe: Path, out: Path) -> list[str]:
        """What builds a zoo."""
        if self.name == "inline":
            return [sys.executable, "-c", INLINE, str(recipe), str(out)]
        where = ["--ray", self.address] if self.name == "ray" else []
        return [sys.executable, "-m", "zoovet", "build", str(recipe), "--out", str(out), "--workers", "2", *where]

    def workers_of(self, build: subprocess.Popen[bytes]) -> list[int]:
        """Processes that do its jobs."""
        if self.name == "inline":
            return []
        parent, sign = (self.raylet, b"ray::_Actor") if self.name == "ray" else (build.pid, b"spawn_main")
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = status.read_text().rpartition(")")[2].split()
                is_worker = sign in (status.parent / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == parent and is_worker:
                found.append(int(status.parent.name))
        return found


@contextmanager
def runner_called(name: str) -> Iterator[Runner]:
    """A runner; for Ray with a cluster of its own, while it is used."""
    if name != "ray":
        yield Runner(name)
        return
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        (raylet,) = cluster.head_node.all_processes["raylet"]
        yield Runner(name, cluster.address, raylet.process.pid)
    finally:
        cluster.shutdown()


def digest(folder: Path) -> str:
    """Of all files of a zoo, by name."""
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def crash(runner: Runner, recipe: Path, out: Path, kills: int, draw: random.Random) -> dict[str, int]:
    """Build while killing at random moments; how often what was killed, and in how many starts."""
    counts = {"builds killed": 0, "workers killed": 0, "starts": 0}
    while sum(counts.values()) - counts["starts"] < kills:
        build = subprocess.Popen(
            runner.command(recipe, out), start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        counts["starts"] += 1
        while build.poll() is None and sum(counts.values()) - counts["starts"] < kills:
            is_early = draw.random() < 0.15  # before there is any worker, or any shard
            while not is_early and build.poll() is None and not has_begun(runner, build, out):
                time.sleep(0.05)
            time.sleep(draw.uniform(0.0, 8.0))
            if build.poll() is not None:
                break
            workers = runner.workers_of(build)
            if workers and draw.random() < 0.6:
                os.kill(draw.choice(workers), signal.SIGKILL)
                counts["workers killed"] += 1
            else:
                os.killpg(build.pid, signal.SIGKILL)
                counts["builds killed"] += 1
        if build.poll() is None:
            build.wait()
        if build.returncode == 0:  # too quick: begin again, and go on killing
            for path in out.iterdir():
                path.unlink()
    subprocess.run(runner.command(recipe, out), check=True, capture_output=True)
    return counts


def has_begun(runner: Runner, build: subprocess.Popen[bytes], out: Path) -> bool:
    """Whether there are workers, or inline the zoo's lock."""
    return bool(runner.workers_of(build)) or (runner.name == "inline" and out.is_dir() and any(out.iterdir()))


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runners", nargs="+", choices=RUNNERS, default=RUNNERS)
    parser.add_argument("--recipes", nargs="+", choices=tuple(RECIPES), default=tuple(RECIPES))
    arguments = parser.parse_args()
    found: dict[str, dict[str, int | bool]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.recipes:
            recipe, whole = Path(folder) / f"{name}.yaml", Path(folder) / f"{name}-whole"
            recipe.write_text(yaml.safe_dump(RECIPES[name]))
            subprocess.run(Runner("processes").command(recipe, whole), check=True, capture_output=True)
            for runner_name in arguments.runners:
                killed = Path(folder) / f"{name}-{runner_name}"
                with runner_called(runner_name) as runner:
                    counts = crash(runner, recipe, killed, arguments.kills, random.Random(arguments.seed))
                key = f"{name}, {runner_name}"
                found[key] = {**counts, "same bytes": digest(whole) == digest(killed)}
                print(key, found[key], flush=True)
                RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
