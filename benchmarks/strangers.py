"""How well networks are told of kinds that no training network was of: one kind of a park left out at a time.

    python benchmarks/strangers.py --park zoos/park --evidence runs/evidence --workers 2
    python benchmarks/strangers.py --config configs/strangers-without-images.yaml --park … --evidence …
    python benchmarks/strangers.py --park … --evidence … --asked-evidence runs/two --asked-images 2 [--unlabelled]

The last asks about test bases whose evidence rests on other images than the readers', an image set left out.

Readers are trained on training and validation bases of the other kinds. "Known" asks about training and validation
bases of the kind left out (settings may be chosen by them), "test" about test bases. Beside them the best test that
needs no training: the greatest of a network's standings (``ClassEvidence.standings``), and their mean over searches.
Intervals: 95 %, bootstrap over bases.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zoovet.config import read_config, read_yaml
from zoovet.errors import ZoovetError
from zoovet.evaluation.metrics import auc, bootstrap_interval, true_positive_rate_at
from zoovet.evidence.class_features import FEATURES, KINDS
from zoovet.tasks.strangers.config import StrangerConfig
from zoovet.tasks.strangers.examined import Examined
from zoovet.tasks.strangers.park_evidence import ParkEvidence, found_evidence
from zoovet.tasks.strangers.training import LeftOut, left_out
from zoovet.zoo import Zoo

KINDS_LEFT_OUT = ("dataset", "family", "recipe", "attack")
RESULTS = Path(__file__).parent / "results"
LEAST_ASR = 0.5


def untrained(row: Examined) -> tuple[float, float]:
    """The greatest of all standings, and the greatest of a class's means over searches."""
    searches = [place for place, kind in enumerate(KINDS) if kind not in ("confusion",)]
    standings = row.labelled.features.values[:, searches, FEATURES.index("margin, own units")]
    return float(standings.max()), float(standings.mean(1).max())


def rows_of(found: LeftOut, by: str) -> list[dict[str, Any]]:
    """A row a network."""
    answers = zip(found.rows, found.logits.tolist(), found.named.tolist(), found.distances.tolist(), strict=True)
    return [
        {
            "left_out": by,
            "asked": "test" if row.split == "test" else "known",
            "kind": str(getattr(row, by)),
            "network_id": row.network_id,
            "base_id": row.base_id,
            "trojaned": row.labelled.is_trojaned,
            "target": row.labelled.target,
            "logit": logit,
            "named": named,
            "distance": distance,
            "greatest": untrained(row)[0],
            "mean": untrained(row)[1],
        }
        for row, logit, named, distance in answers
    ]


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """AUCs with intervals, rates, targets named."""
    truth = np.array([row["trojaned"] for row in rows])
    bases = np.array([row["base_id"] for row in rows])
    made: dict[str, Any] = {"networks": len(rows)}
    for name in ("logit", "greatest", "mean"):
        scores = np.array([row[name] for row in rows])
        try:
            interval = bootstrap_interval(
                lambda places, scores=scores: auc(scores[places], truth[places]), bases, np.random.default_rng(0)
            )
        except ZoovetError:
            return made
        made[name] = {
            "auc": round(auc(scores, truth), 3),
            "low": round(interval.low, 3),
            "high": round(interval.high, 3),
        }
    scores = np.array([row["logit"] for row in rows])
    for rate in (0.05, 0.01):
        made[f"tpr_at_{rate:g}"] = round(true_positive_rate_at(scores, truth, false_positive_rate=rate), 3)
    asked = [row for row in rows if row["target"] >= 0]
    made["target_named"] = round(float(np.mean([row["named"] == row["target"] for row in asked])), 3) if asked else None
    return made


def rows_with_trojans_that_work(park: ParkEvidence, workers: int) -> list[Examined]:
    """All networks but trojaned ones of an ASR below 0.5; evidence that is lacking is sought."""
    rows = found_evidence(park, workers=workers, progress=lambda done, total: print(f"{done}/{total}", flush=True))
    return [row for row in rows if not row.asr < LEAST_ASR]


def other_images(
    park: ParkEvidence, every: Sequence[Examined], config: StrangerConfig, arguments: argparse.Namespace
) -> None:
    """Ask about test bases whose evidence rests on other images, and keep the figures."""
    images, uses_labels = arguments.asked_images, not arguments.unlabelled
    asked_config = replace(config, images_per_class=images, uses_labels=uses_labels)
    test = park.zoo.select(park.zoo.column("split") == "test")
    asked_park = replace(park, zoo=test, config=asked_config, folder=arguments.asked_evidence)
    asked = rows_with_trojans_that_work(asked_park, arguments.workers)
    known = [row for row in every if row.split != "test"]
    rows = rows_of(left_out(known, asked, config, "dataset"), "dataset")
    labels = "labelled" if uses_labels else "unlabelled"
    found = {"images_per_class": images, "labels": labels, "image set left out, test": figures(rows)}
    print(json.dumps(found))
    name = f"strangers_{images}_{labels}"
    pq.write_table(pa.Table.from_pylist(rows), RESULTS / f"{name}.parquet", compression="zstd")
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def main() -> None:
    """Seek what evidence is lacking, print the tables, keep the raw results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--park", type=Path, required=True)
    parser.add_argument("--evidence", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=Path("configs/strangers.yaml"))
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--asked-evidence", type=Path)
    parser.add_argument("--asked-images", type=int, default=2)
    parser.add_argument("--unlabelled", action="store_true")
    arguments = parser.parse_args()
    values = {name: value for name, value in read_yaml(arguments.config).items() if name not in ("task", "data")}
    config = read_config(StrangerConfig, values)
    park = ParkEvidence(Zoo.open(arguments.park, finished_only=True), config, arguments.evidence, arguments.data_root)
    every = rows_with_trojans_that_work(park, arguments.workers)
    if arguments.asked_evidence is not None:
        other_images(park, every, config, arguments)
        return
    known = [row for row in every if row.split != "test"]
    raw, tables = list[dict[str, Any]](), {}
    for by in KINDS_LEFT_OUT:
        found = left_out(
            known, every, config, by, told=lambda kind, by=by: print(f"without the {by} {kind}", flush=True)
        )
        rows = rows_of(found, by)
        raw += rows
        for which in ("known", "test"):
            own = [row for row in rows if row["asked"] == which]
            if not own:
                continue
            kinds = sorted({row["kind"] for row in own})
            table = {kind: figures([row for row in own if row["kind"] == kind]) for kind in kinds}
            table["all"] = figures(own)
            tables[f"{by}, {which}"] = table
            print(f"\nleft out: {by}; asked: {which}")
            for kind, numbers in table.items():
                print(f"  {kind:24} {json.dumps(numbers)}", flush=True)
    name = arguments.config.stem.replace("-", "_")
    pq.write_table(pa.Table.from_pylist(raw), RESULTS / f"{name}.parquet", compression="zstd")
    facts = {"networks": len(every), "seconds": round(float(np.median([row.seconds for row in every])), 1)}
    (RESULTS / f"{name}.json").write_text(json.dumps({**facts, "tables": tables}, indent=1) + "\n")


if __name__ == "__main__":
    main()
