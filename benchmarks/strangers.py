"""How well networks are told of kinds that no training network was of: one kind of a park left out at a time.

    python benchmarks/strangers.py --park zoos/park --evidence runs/evidence --workers 2
    python benchmarks/strangers.py --config configs/strangers-without-images.yaml --park … --evidence …

Readers are trained on training and validation bases of the other kinds. "Known" asks about training and validation
bases of the kind left out (settings may be chosen by them), "test" about test bases. Beside them the best test that
needs no training: the greatest of a network's standings (``ClassEvidence.standings``), and their mean over searches.
Intervals: 95 %, bootstrap over bases.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
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


def main() -> None:
    """Seek what evidence is lacking, print the tables, keep the raw results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--park", type=Path, required=True)
    parser.add_argument("--evidence", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=Path("configs/strangers.yaml"))
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    values = {name: value for name, value in read_yaml(arguments.config).items() if name not in ("task", "data")}
    config = read_config(StrangerConfig, values)
    park = ParkEvidence(Zoo.open(arguments.park, finished_only=True), config, arguments.evidence, arguments.data_root)
    every = found_evidence(park, workers=arguments.workers, progress=lambda done, total: print(f"{done}/{total}"))
    every = [row for row in every if not row.asr < LEAST_ASR]
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
