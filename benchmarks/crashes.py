"""Builds that are killed at random moments end with the same zoo, plain and park: how often, and what it cost.

A build is begun again and again by the same command. At a random moment SIGKILL goes to the whole build, or to one of
its worker processes alone (which a build survives by itself). At the end the zoo must have the bytes of one that
was never disturbed.

    python benchmarks/crashes.py [--kills 20] [--seed 0]
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


def command(recipe: Path, out: Path) -> list[str]:
    """What builds a zoo."""
    return [sys.executable, "-m", "zoovet", "build", str(recipe), "--out", str(out), "--workers", "2"]


def workers_of(build: subprocess.Popen[bytes]) -> list[int]:
    """Its worker processes."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            is_worker = b"spawn_main" in (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == build.pid and is_worker:
            found.append(int(status.parent.name))
    return found


def digest(folder: Path) -> str:
    """Of all files of a zoo, by name."""
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def crash(recipe: Path, out: Path, kills: int, draw: random.Random) -> dict[str, int]:
    """Build while killing at random moments; how often what was killed, and in how many starts."""
    counts = {"builds killed": 0, "workers killed": 0, "starts": 0}
    while sum(counts.values()) - counts["starts"] < kills:
        build = subprocess.Popen(
            command(recipe, out), start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        counts["starts"] += 1
        while build.poll() is None and sum(counts.values()) - counts["starts"] < kills:
            is_early = draw.random() < 0.15  # before there is any worker
            while not is_early and not workers_of(build) and build.poll() is None:
                time.sleep(0.05)
            time.sleep(draw.uniform(0.0, 8.0))
            if build.poll() is not None:
                break
            workers = workers_of(build)
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
    subprocess.run(command(recipe, out), check=True, capture_output=True)
    return counts


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found: dict[str, dict[str, int | bool]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, values in RECIPES.items():
            recipe = Path(folder) / f"{name}.yaml"
            recipe.write_text(yaml.safe_dump(values))
            whole, killed = Path(folder) / f"{name}-whole", Path(folder) / f"{name}-killed"
            subprocess.run(command(recipe, whole), check=True, capture_output=True)
            counts = crash(recipe, killed, arguments.kills, random.Random(arguments.seed))
            found[name] = {**counts, "same bytes": digest(whole) == digest(killed)}
            print(name, found[name], flush=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
