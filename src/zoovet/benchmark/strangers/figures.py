"""Figures of strangers: AUC with 95 % intervals over bases, differences on the same networks, rates, targets named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoovet.benchmark.strangers.config import images_name
from zoovet.benchmark.strangers.results import Row, StrangerResults
from zoovet.errors import ZoovetError
from zoovet.evaluation.metrics import auc, bootstrap_intervals, true_positive_rate_at

__all__ = ["OURS", "UNTRAINED", "figures_of", "rival_figures", "stranger_figures"]

OURS = "logit"
UNTRAINED = ("greatest", "mean")
"""What needs no training: the greatest of a network's standings, and the greatest of a class's means over searches."""

_RATES = (0.05, 0.01)
_DIGITS = 3


def stranger_figures(results: StrangerResults) -> dict[str, Any]:
    """All figures as JSON values.

    Returns:
        ``networks``, ``bases``, ``seconds`` (median of a processor's, that evidence took), ``effort`` and its
        ``tables``: ``"BY, known"`` and ``"BY, test"`` → kind, and ``all`` → figures. ``other_efforts``: effort →
        tables. ``other_images``: name → tables. ``rivals``: effort → by → rival → figures.
    """
    config = results.config
    first, *others = config.efforts
    _, *other_images = config.by_images
    own = {row["network_id"]: row for row in results.rows if row["images"] == images_name(config)}
    return {
        "networks": len(own),
        "bases": len({row["base_id"] for row in own.values()}),
        "seconds": _median([row["seconds"] for row in own.values()]),
        "effort": first,
        "tables": _tables(results, first),
        "other_efforts": {effort: _tables(results, effort) for effort in others},
        "other_images": {images: _tables(results, first, images) for images in other_images},
        "rivals": {
            effort: {by: rival_figures(results, by, effort) for by in config.left_out} for effort in config.efforts
        },
    }


def figures_of(rows: Sequence[Row]) -> dict[str, Any]:
    """Figures of one table's row.

    Args:
        rows: Networks.

    Returns:
        ``networks``, ``bases``; where there are healthy and trojaned ones besides ``logit`` (ours), ``greatest`` and
        ``mean`` (each ``auc``, ``low``, ``high``), ``less_greatest`` and ``less_mean`` (ours less theirs on the same
        networks: ``difference``, ``low``, ``high``), ``tpr_at_0.05``, ``tpr_at_0.01`` and ``target_named`` (of
        trojaned networks with one target; ``None`` where there are none).
    """
    made = _counts(rows)
    scores = {name: [row[name] for row in rows] for name in (OURS, *UNTRAINED)}
    aucs = _aucs(scores, rows)
    if not aucs:
        return made
    return made | aucs | _rates(scores[OURS], rows) | {"target_named": _share([row["target_named"] for row in rows])}


def rival_figures(results: StrangerResults, by: str, effort: str) -> dict[str, Any]:
    """Each rival on the test networks that it did not refuse, and by how much ours is better on the same ones.

    Args:
        results: Of the benchmark.
        by: What ours had never seen of them.
        effort: What of the evidence ours reads.

    Returns:
        Rival → ``networks``, ``bases``, ``refused``, ``auc``, ``low``, ``high``, ``less`` (ours less the rival's:
        ``difference``, ``low``, ``high``), rates, ``target_named``, ``seconds`` (median).
    """
    ours, made = results.of(by, "test", effort=effort), dict[str, Any]()
    for name in results.config.rivals:
        said, own = results.rival(name, ours)
        found = _counts(own) | {"refused": len(ours) - len(own)}
        scores = [row["score"] for row in said]
        aucs = _aucs({OURS: [row[OURS] for row in own], "rival": scores}, own) if own else {}
        if aucs:
            named = [
                None if row["target_named"] is None else answer["target"] == row["target"]
                for row, answer in zip(own, said, strict=True)
            ]
            found |= {**aucs["rival"], "less": aucs["less_rival"], **_rates(scores, own)}
            found |= {"target_named": _share(named), "seconds": _median([row["seconds"] for row in said])}
        made[name] = found
    return made


def _tables(results: StrangerResults, effort: str, images: str | None = None) -> dict[str, Any]:
    tables = dict[str, Any]()
    for by in results.config.left_out:
        for asked in ("known", "test"):
            rows = results.of(by, asked, effort=effort, images=images)
            if rows:
                kinds = sorted({row["kind"] for row in rows})
                table = {kind: figures_of([row for row in rows if row["kind"] == kind]) for kind in kinds}
                tables[f"{by}, {asked}"] = table | {"all": figures_of(rows)}
    return tables


def _counts(rows: Sequence[Row]) -> dict[str, Any]:
    return {"networks": len(rows), "bases": len({row["base_id"] for row in rows})}


def _aucs(scores: Mapping[str, Sequence[float]], rows: Sequence[Row]) -> dict[str, Any]:
    """Each score's AUC, and by how much the first is above every other, on the same resamples of the bases.

    Nothing where a figure is undefined: there are only healthy, or only trojaned networks.
    """
    truth, bases = np.array([row["trojaned"] for row in rows]), np.array([row["base_id"] for row in rows])
    columns = np.array(list(scores.values()), dtype=np.float64)
    _, *others = scores

    def found(places: np.ndarray[Any, np.dtype[np.intp]]) -> list[float]:
        first, *rest = (auc(column[places], truth[places]) for column in columns)
        return [first, *rest, *(first - value for value in rest)]

    try:
        values = found(np.arange(len(truth)))
        intervals = bootstrap_intervals(found, bases, np.random.default_rng(0))
    except ZoovetError:
        return {}
    names = [*((name, "auc") for name in scores), *((f"less_{name}", "difference") for name in others)]
    return {
        name: {
            what: round(value, _DIGITS),
            "low": round(interval.low, _DIGITS),
            "high": round(interval.high, _DIGITS),
        }
        for (name, what), value, interval in zip(names, values, intervals, strict=True)
    }


def _rates(scores: Sequence[float], rows: Sequence[Row]) -> dict[str, float]:
    """Shares of trojaned networks that are found at rates of false alarms."""
    truth = np.array([row["trojaned"] for row in rows])
    return {
        f"tpr_at_{rate:g}": round(true_positive_rate_at(scores, truth, false_positive_rate=rate), _DIGITS)
        for rate in _RATES
    }


def _median(seconds: Sequence[float]) -> float | None:
    return round(float(np.median(seconds)), 1) if seconds else None


def _share(named: Sequence[bool | None]) -> float | None:
    asked = [bool(one) for one in named if one is not None]
    return round(float(np.mean(asked)), _DIGITS) if asked else None
