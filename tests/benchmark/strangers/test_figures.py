"""Figures of strangers are those of their rows, paired with rivals', and undefined ones are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from zoovet.benchmark.strangers import StrangerBenchmarkConfig, StrangerResults, opened_park
from zoovet.benchmark.strangers.figures import figures_of, rival_figures
from zoovet.benchmark.strangers.results import Row
from zoovet.benchmark.strangers.tables import stranger_tables

COUNT = 40


def rows(images: str = "2-labelled") -> list[Row]:
    """Forty networks of twenty bases; ours tells them rather well, standings hardly."""
    generator, made = np.random.default_rng(0), []
    for place in range(COUNT):
        trojaned = place % 2 == 1
        made.append(
            {
                "effort": "normal",
                "images": images,
                "left_out": "dataset",
                "kind": ("digits", "letters")[place // 2 % 2],
                "asked": "test",
                "network_id": str(place),
                "base_id": place // 2,
                "trojaned": trojaned,
                "target": 3 if trojaned and place > 4 else -1,
                "target_named": place % 3 > 0 if trojaned and place > 4 else None,
                "logit": float(generator.normal(2.0 * trojaned)),
                "greatest": float(generator.normal(0.5 * trojaned)),
                "mean": float(generator.normal()),
                "distance": 1.0,
                "seconds": 2.0,
            }
        )
    return made


def rival_rows() -> list[Row]:
    """A rival that refuses two networks, and gives one no finite score."""
    generator, made = np.random.default_rng(1), []
    for place in range(COUNT):
        score = None if place < 2 else float("inf") if place == 2 else float(generator.normal(1.0 * (place % 2)))
        made.append({"network_id": str(place), "test": "pixel", "score": score, "target": 3, "seconds": 0.5})
    return made


@pytest.fixture
def results(config: StrangerBenchmarkConfig, park: Path, tmp_path: Path) -> StrangerResults:
    values = {name: getattr(config, name) for name in config.__dataclass_fields__}
    own = StrangerBenchmarkConfig(**{**values, "rivals": ("pixel",), "other_images": ()})
    return StrangerResults(own, tmp_path, opened_park(own), rows(), rival_rows())


def column(given: list[Row], name: str) -> np.ndarray[Any, Any]:
    return np.array([row[name] for row in given])


def test_figures_are_those_of_the_rows() -> None:
    given = rows()
    found, truth = figures_of(given), column(given, "trojaned")
    assert (found["networks"], found["bases"]) == (40, 20)
    for name in ("logit", "greatest", "mean"):
        assert found[name]["auc"] == pytest.approx(roc_auc_score(truth, column(given, name)), abs=6e-4)
        assert found[name]["low"] < found[name]["auc"] < found[name]["high"]
    difference = found["logit"]["auc"] - found["greatest"]["auc"]
    assert found["less_greatest"]["difference"] == pytest.approx(difference, abs=2e-3)
    assert found["less_greatest"]["low"] < difference < found["less_greatest"]["high"]
    named = [row["target_named"] for row in given if row["target_named"] is not None]
    assert found["target_named"] == pytest.approx(np.mean(named), abs=6e-4)
    healthy = np.sort(column(given, "logit")[~truth])
    assert found["tpr_at_0.05"] == np.mean(column(given, "logit")[truth] > healthy[-2])
    assert found["tpr_at_0.01"] == np.mean(column(given, "logit")[truth] > healthy[-1])
    assert figures_of(given[1::2]) == {"networks": 20, "bases": 20}
    assert figures_of([*given[:2], *given[0:1]])["target_named"] is None


def test_rivals_are_compared_on_the_networks_that_they_did_not_refuse(results: StrangerResults) -> None:
    found = rival_figures(results, "dataset", "normal")["pixel"]
    ours, theirs = results.rows[3:], results.rivals[3:]
    assert (found["networks"], found["bases"], found["refused"]) == (37, 19, 3)
    truth = column(ours, "trojaned")
    own, rival = (roc_auc_score(truth, column(each, name)) for each, name in ((ours, "logit"), (theirs, "score")))
    assert found["auc"] == pytest.approx(rival, abs=6e-4)
    assert found["less"]["difference"] == pytest.approx(own - rival, abs=6e-4)
    assert found["less"]["low"] < own - rival < found["less"]["high"]
    assert found["target_named"] == 1.0  # always 3, where there is a target
    assert found["seconds"] == 0.5


def test_tables_say_on_how_many_bases_each_row_rests(results: StrangerResults) -> None:
    rival = rival_figures(results, "dataset", "normal")
    every = figures_of(results.rows)
    kinds = {kind: figures_of([row for row in results.rows if row["kind"] == kind]) for kind in ("digits", "letters")}
    figures = {
        "effort": "normal",
        "tables": {"dataset, test": {**kinds, "all": every}},
        "other_efforts": {},
        "other_images": {},
        "rivals": {"normal": {"dataset": rival}},
    }
    beside, by_kind = stranger_tables(results.config, figures)["dataset"]
    assert [row[:3] for row in beside.rows] == [
        ("detector for strangers, normal", "20", "40"),
        ("greatest standing (no training)", "20", "40"),
        ("mean standing (no training)", "20", "40"),
        ("Pixel, 3 refused", "19", "37"),
    ]
    assert [row[:3] for row in by_kind.rows] == [("digits", "10", "20"), ("letters", "10", "20"), ("all", "20", "40")]
    least = min(kinds, key=lambda kind: kinds[kind]["logit"]["auc"])
    assert f"least: {kinds[least]['logit']['auc']:.3f} ({least})." in by_kind.note
    assert by_kind.rows[2][3].startswith(f"{every['logit']['auc']:.3f} (")
