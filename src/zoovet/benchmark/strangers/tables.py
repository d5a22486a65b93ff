"""A benchmark of strangers as tables for people, from its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoovet.benchmark.strangers.config import StrangerBenchmarkConfig, images_name
from zoovet.benchmark.strangers.figures import OURS
from zoovet.benchmark.table import Table
from zoovet.printable import printable

__all__ = ["LEFT_OUT", "RIVALS", "stranger_tables"]

LEFT_OUT = {"dataset": "image set", "family": "architecture family", "recipe": "recipe", "attack": "attack"}
"""What networks are strangers by, in words."""

RIVALS = {
    "neural_cleanse": "Neural Cleanse",
    "mm_bd": "MM-BD",
    "pixel": "Pixel",
    "bti_dbf": "BTI-DBF",
    "free_eagle": "FreeEagle",
    "trojan_signature": "trojan signature (last layer)",
}
"""Rivals by their papers' names."""

_OF = {
    "known": "training and validation bases: settings may have been chosen on them",
    "test": "test bases",
}
_UNKNOWN = "–"


def stranger_tables(config: StrangerBenchmarkConfig, figures: Mapping[str, Any]) -> dict[str, list[Table]]:
    """All tables that figures are there for, by what was left out.

    Args:
        config: Of the benchmark.
        figures: Of :func:`zoovet.benchmark.strangers.figures.stranger_figures`.
    """
    by_effort = {figures["effort"]: figures["tables"], **figures["other_efforts"]}
    tables = dict[str, list[Table]]()
    for by in config.left_out:
        own = [
            _kinds_table(by, asked, effort, found[f"{by}, {asked}"])
            for effort, found in by_effort.items()
            for asked in ("test", "known")
            if f"{by}, {asked}" in found
        ]
        tests = {effort: found[f"{by}, test"]["all"] for effort, found in by_effort.items() if f"{by}, test" in found}
        if tests and config.rivals:
            own.insert(0, _rivals_table(by, tests, {effort: figures["rivals"][effort][by] for effort in tests}))
        others = {
            images: found[f"{by}, test"]["all"]
            for images, found in figures["other_images"].items()
            if f"{by}, test" in found
        }
        if others:
            own.append(_images_table(by, {images_name(config): tests[figures["effort"]], **others}))
        if own:
            tables[by] = own
    return tables


def _rivals_table(by: str, ours: Mapping[str, Any], rivals: Mapping[str, Mapping[str, Any]]) -> Table:
    """Ours at each effort, what needs no training, and rivals; all on test networks."""
    rows = []
    for effort, found in ours.items():
        name = f"detector for strangers, {effort}"
        rows.append((name, *_counts(found), _auc(found.get(OURS)), "", *_rates(found)))
    first, theirs = next(iter(ours.items()))
    for name, words in (("greatest", "greatest standing"), ("mean", "mean standing")):
        alone = (_auc(theirs.get(name)), _difference(theirs.get(f"less_{name}")))
        rows.append((f"{words} (no training)", *_counts(theirs), *alone, *[_UNKNOWN] * 3))
    for rival, found in rivals[first].items():
        refused = f", {found['refused']} refused" if found["refused"] else ""
        auc = _auc(found if "auc" in found else None)
        rows.append((RIVALS[rival] + refused, *_counts(found), auc, _difference(found.get("less")), *_rates(found)))
    return Table(
        f"One {LEFT_OUT[by]} left out: ours beside tests of single networks",
        ("", "bases", "networks", "AUC (95 %)", f"{first} less it (95 %)", *_RATES),
        tuple(rows),
        "Test bases; all are given the same reference images. Intervals: bootstrap over bases. A rival that refused "
        "networks is compared on the others.",
    )


_RATES = ("found at 5 % of false alarms", "at 1 %", "target named")


def _kinds_table(by: str, asked: str, effort: str, table: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row a kind that was left out."""
    rows = [
        (
            printable(kind),
            *_counts(found),
            _auc(found.get(OURS)),
            _auc(found.get("greatest")),
            _difference(found.get("less_greatest")),
            *_rates(found),
        )
        for kind, found in table.items()
    ]
    aucs = {kind: found[OURS]["auc"] for kind, found in table.items() if kind != "all" and OURS in found}
    least = min(aucs, key=lambda kind: aucs[kind], default="")
    note = f"Of {_OF[asked]}. Intervals: bootstrap over bases."
    if aucs:
        mean = sum(aucs.values()) / len(aucs)
        note += f" Mean AUC over them: {mean:.3f}; least: {aucs[least]:.3f} ({printable(least)})."
    return Table(
        f"One {LEFT_OUT[by]} left out, effort {effort}: {'test' if asked == 'test' else 'known'} bases",
        (LEFT_OUT[by], "bases", "networks", "AUC (95 %)", "greatest standing", "ours less it", *_RATES),
        tuple(rows),
        note,
    )


def _images_table(by: str, found: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row a sort of reference images; the first is what readers learned with."""
    rows = [(name, *_counts(own), _auc(own.get(OURS)), *_rates(own)) for name, own in found.items()]
    return Table(
        f"One {LEFT_OUT[by]} left out: other reference images",
        ("images a class", "bases", "networks", "AUC (95 %)", *_RATES),
        tuple(rows),
        "Test bases; readers learned on evidence of the first row's images. Intervals: bootstrap over bases.",
    )


def _counts(found: Mapping[str, Any]) -> tuple[str, str]:
    return str(found["bases"]), str(found["networks"])


def _auc(found: Mapping[str, float] | None) -> str:
    return _UNKNOWN if found is None else f"{found['auc']:.3f} ({found['low']:.2f} to {found['high']:.2f})"


def _difference(found: Mapping[str, float] | None) -> str:
    if found is None:
        return _UNKNOWN
    return f"{found['difference']:+.3f} ({found['low']:+.2f} to {found['high']:+.2f})"


def _rates(found: Mapping[str, Any]) -> Sequence[str]:
    values = [found.get(name) for name in ("tpr_at_0.05", "tpr_at_0.01", "target_named")]
    return [_UNKNOWN if value is None else f"{value:.2f}" for value in values]
