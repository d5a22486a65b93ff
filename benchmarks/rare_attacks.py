"""What the detector for strangers makes of a park that it did not learn on: AUC by attack, against healthy siblings.

    zoovet build configs/zoo/park-rare-attacks.yaml --out zoos/rare --workers 2
    python benchmarks/rare_attacks.py --park zoos/rare [--strangers RUN]

Six reference images a class, of each image set's test images. Image sets, architectures and recipes are those of the
park that the detector learned on; networks and attacks are others.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from zoovet.evaluation.metrics import auc, bootstrap_interval
from zoovet.evidence import class_evidence
from zoovet.evidence.class_features import class_features, greatest_exchange
from zoovet.tasks.strangers.detector import StrangerDetector
from zoovet.tasks.strangers.efforts import DEFAULT_EFFORT
from zoovet.tasks.strangers.few_classes import MANY_CLASSES
from zoovet.tasks.strangers.park_evidence import reference_images
from zoovet.vet import shipped_stranger_reader
from zoovet.zoo import Zoo
from zoovet.zoo.builders import recipe_of
from zoovet.zoo.compiled_runnable import fastest_runnable
from zoovet.zoo.park import ParkRecipe
from zoovet.zoo.park.images import load_image_set

RESULTS = Path(__file__).parent / "results"
LEAST_ASR = 0.5


def judged(zoo: Zoo, detector: StrangerDetector, data_root: Path | None) -> list[dict[str, Any]]:
    """A row a network: what it is, and what the detector says."""
    recipe = recipe_of(zoo.recipe)
    assert isinstance(recipe, ParkRecipe)
    tests = {block.name: load_image_set(block, 0, data_root).test for block in recipe.images}
    rows = []
    for place in range(len(zoo)):
        facts = {name: str(zoo.column(name)[place]) for name in ("network_id", "attack", "dataset", "family")}
        base_id, is_trojaned = int(zoo.column("base_id")[place]), bool(zoo.column("poisoned")[place])
        shown = reference_images(tests[facts["dataset"]], detector.config, base_id)
        sought = detector.evidence_config(DEFAULT_EFFORT)
        found = class_evidence(fastest_runnable(zoo.networks([place])), shown.pixels, shown.required_labels, sought)
        reading = detector.read(found, DEFAULT_EFFORT)
        rows.append(
            facts
            | {
                "base_id": base_id,
                "trojaned": is_trojaned,
                "asr": float(zoo.column("asr")[place]) if is_trojaned else None,
                "logit": reading.logit,
                "probability": reading.probability,
                "exchanges": reading.exchanges,
                "exchange": greatest_exchange(class_features(found)),
            }
        )
        print(facts["network_id"], facts["attack"], f"{reading.probability:.3f}", flush=True)
    return rows


def figures(rows: list[dict[str, Any]], threshold: float) -> dict[str, Any]:
    """Of one attack's bases whose trojan works."""
    works = {row["base_id"] for row in rows if row["trojaned"] and row["asr"] >= LEAST_ASR}
    own = [row for row in rows if row["base_id"] in works]
    truth, bases = np.array([row["trojaned"] for row in own]), np.array([row["base_id"] for row in own])
    made: dict[str, Any] = {"bases": len(works)}
    for name in ("logit", "exchange"):
        scores = np.array([row[name] for row in own])
        interval = bootstrap_interval(
            lambda at, scores=scores: auc(scores[at], truth[at]), bases, np.random.default_rng(0)
        )
        made[name] = {
            "auc": round(auc(scores, truth), 3),
            "low": round(interval.low, 3),
            "high": round(interval.high, 3),
        }
    flagged = np.array([row["probability"] >= threshold for row in own])
    made["flagged_at_5_percent"] = {"trojaned": float(flagged[truth].mean()), "healthy": float(flagged[~truth].mean())}
    return made


def main() -> None:
    """Judge, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--park", type=Path, required=True)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--strangers", type=Path, metavar="RUN", help="a detector; the one that ships where left out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    detector = shipped_stranger_reader() if arguments.strangers is None else StrangerDetector.open(arguments.strangers)
    assert isinstance(detector, StrangerDetector)
    rows = judged(Zoo.open(arguments.park, finished_only=True), detector, arguments.data_root)
    threshold = detector.threshold(0.05, DEFAULT_EFFORT, MANY_CLASSES)
    attacks = sorted({row["attack"] for row in rows})
    found: dict[str, Any] = {"detector": detector.version}
    for attack in attacks:
        found[attack] = figures([row for row in rows if row["attack"] == attack], threshold)
        print(attack, json.dumps(found[attack]))
    pq.write_table(pa.Table.from_pylist(rows), RESULTS / "rare_attacks.parquet", compression="zstd")
    (RESULTS / "rare_attacks.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
