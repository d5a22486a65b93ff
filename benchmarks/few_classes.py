"""Networks of few classes, judged by the detector for strangers that ships: run from the repository's root.

Uses ``results/strangers_evidence_few.parquet``: evidence of test bases, that no detector was trained on, whose networks
were cut to some of their classes. Writes ``results/few_classes.json``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from zoovet.evaluation.metrics import auc, bootstrap_interval
from zoovet.tasks.strangers.detector import StrangerDetector
from zoovet.tasks.strangers.efforts import DEFAULT_EFFORT
from zoovet.tasks.strangers.evidence_files import evidence_in
from zoovet.vet import shipped_stranger_reader

RESULTS = Path(__file__).parent / "results"
LEAST_ASR = 0.5
RATES = (0.01, 0.05)


@dataclass(frozen=True)
class Judged:
    """What the detector says of one network that was cut to few classes."""

    base_id: int
    is_trojaned: bool
    logit: float
    probability: float
    is_unlike: bool
    names_target: bool


def judged(detector: StrangerDetector) -> dict[int, list[Judged]]:
    """Of the test bases whose trojan works: number of classes → what is said of each network."""
    every = pq.read_table(RESULTS / "strangers_evidence_few.parquet", filters=[("split", "=", "test")]).to_pylist()
    works = {row["base_id"] for row in every if row["poisoned"] and row["asr"] >= LEAST_ASR}
    said = defaultdict[int, list[Judged]](list)
    for row in (row for row in every if row["base_id"] in works):
        reading, classes = detector.read(evidence_in(row), DEFAULT_EFFORT), row["classes"]
        named = classes[int(reading.class_probabilities.argmax())]
        one = Judged(
            row["base_id"],
            row["poisoned"],
            reading.logit,
            reading.probability,
            bool(reading.unlike),
            named == row["target"],
        )
        said[len(classes)].append(one)
    return dict(sorted(said.items()))


def figures(said: Sequence[Judged], detector: StrangerDetector, count: int) -> dict[str, Any]:
    """Of networks of one number of classes; intervals over bases; what is unlike is not flagged."""
    truth, bases = np.array([one.is_trojaned for one in said]), np.array([one.base_id for one in said])
    probabilities, unlike = np.array([one.probability for one in said]), np.array([one.is_unlike for one in said])
    logits, named = np.array([one.logit for one in said]), np.array([one.names_target for one in said])
    made: dict[str, Any] = {"bases": len(set(bases.tolist())), "networks": len(said), "unlike": _rounded(unlike.mean())}
    made["auc"] = _with_interval(lambda at: auc(logits[at], truth[at]), bases)
    for rate in RATES:
        flagged = (probabilities >= detector.threshold(rate, DEFAULT_EFFORT, count)) & ~unlike
        made[f"at_{rate}"] = {
            "false_alarms": _with_interval(lambda at, flagged=flagged: flagged[at][~truth[at]].mean(), bases),
            "found": _with_interval(lambda at, flagged=flagged: flagged[at][truth[at]].mean(), bases),
            "target_named": _rounded(named[flagged & truth].mean()) if bool((flagged & truth).any()) else None,
        }
    return made


def _with_interval(statistic: Any, bases: np.ndarray) -> list[float]:
    interval = bootstrap_interval(statistic, bases, np.random.default_rng(0))
    return [_rounded(statistic(np.arange(len(bases)))), _rounded(interval.low), _rounded(interval.high)]


def _rounded(value: Any) -> float:
    return round(float(value), 3)


def main() -> None:
    """Judge, print and keep."""
    torch.set_num_threads(1)
    detector = shipped_stranger_reader()
    assert isinstance(detector, StrangerDetector)
    made: dict[str, Any] = {"detector": detector.version}
    for count, said in judged(detector).items():
        made[str(count)] = figures(said, detector, count)
        print(count, json.dumps(made[str(count)]))
    (RESULTS / "few_classes.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
