"""A benchmark's tables, from the results that are on disk, and the block of ``results.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoovet.benchmark.choosing import Choice
from zoovet.benchmark.config import BenchmarkConfig
from zoovet.benchmark.detectors import DETECTORS
from zoovet.benchmark.figures import (
    Figure,
    Scores,
    auc_difference,
    detection_figures,
    mean_auc,
    repair_differences,
    repair_figures,
)
from zoovet.benchmark.repairers import REPAIRERS
from zoovet.benchmark.table import Table
from zoovet.benchmark.trials import Trial, attacks_of, families_of
from zoovet.benchmark.worker import ChoiceJob, counted_networks, results_path
from zoovet.errors import ZoovetError
from zoovet.evaluation import DetectionResults, RepairResults
from zoovet.evaluation.breakdown import ASR_BANDS
from zoovet.zoo import Zoo

__all__ = ["OURS", "Bench", "benchmark_tables", "family_figures", "trojan_block", "unseen_figures"]

OURS = "scalegmn"


class Bench:
    """Results of a benchmark's folder.

    Args:
        config: What was compared.
        out: Its folder.
        zoos: The zoos by name.
    """

    def __init__(self, config: BenchmarkConfig, out: Path, zoos: Mapping[str, Zoo]) -> None:
        self.config, self.out, self.zoos = config, out, zoos
        self._tests = {name: counted_networks(zoo, config.min_asr) for name, zoo in zoos.items()}
        self._attacks = {name: attacks_of(test) for name, test in self._tests.items()}

    def scores(
        self, zoo: str, detector: str, *, on: str | None = None, left_out: str | None = None, bases: int | None = None
    ) -> Scores | None:
        """A detector's scores, all seeds that are on disk; ``None`` where there are none.

        Raises:
            ZoovetError: They are of other networks than the zoo's test networks.
        """
        on = on or zoo
        results = []
        for seed in self.config.seeds:
            trial = Trial(zoo=zoo, model=detector, seed=seed, left_out=left_out, num_bases=bases)
            path = results_path(self.out, trial, on)
            if path.exists():
                results.append(DetectionResults.load(path))
        if not results:
            return None
        test = self._tests[on]
        places = {network: place for place, network in enumerate(test.column("network_id"))}
        if not places.keys() >= set(results[0].network_ids):
            raise ZoovetError(f"{self.out} holds scores of other networks than the test networks of {test.path}")
        scored = np.array([places[network] for network in results[0].network_ids])
        return Scores(results, self._attacks[on][scored], test.column("origin")[scored])

    def repairs(self, zoo: str, repairer: str) -> list[RepairResults]:
        """A repairer's results, all seeds that are on disk."""
        paths = [results_path(self.out, Trial(zoo=zoo, model=repairer, seed=seed)) for seed in self.config.seeds]
        return [RepairResults.load(path) for path in paths if path.exists()]

    def choice(self, zoo: str, repairer: str) -> Choice | None:
        """What was chosen for a repairer on validation networks, where there was something to choose."""
        path = ChoiceJob(zoo, repairer).path(self.out)
        return Choice.load(path) if path.exists() else None


def benchmark_tables(bench: Bench) -> list[Table]:
    """Every table that results are there for."""
    tables = []
    for name in bench.zoos:
        tables += [_seen_table(bench, name), _group_table(bench, name, "family"), _group_table(bench, name, "ASR")]
        tables += [_group_table(bench, name, "origin"), _unseen_table(bench, name), _sizes_table(bench, name)]
        tables += [_transfer_table(bench, name), _repair_table(bench, name), _repair_comparison(bench, name)]
    return [table for table in tables if table.rows]


def trojan_block(bench: Bench, command: str) -> dict[str, Any]:
    """The block ``trojan`` of ``docs/results.json``: detectors' AUCs and repairers' figures.

    By image dataset, or by zoo where several zoos have the same.
    """
    block: dict[str, Any] = {}
    datasets = [str(zoo.recipe["dataset"]) for zoo in bench.zoos.values()]
    for name in bench.zoos:
        seen = {model: scores for model in bench.config.detectors if (scores := bench.scores(name, model))}
        unseen = {model: _unseen_mean(bench, name, model) for model in bench.config.trained_unseen}
        repairs = {model: results for model in bench.config.repairers if (results := bench.repairs(name, model))}
        own: dict[str, Any] = {}
        if seen:
            aucs = {model: round(mean_auc(scores, _all(scores)).mean, 4) for model, scores in seen.items()}
            counts = _counts({model: len(scores.poisoned) for model, scores in seen.items()})
            own["detection_seen"] = {**aucs, **counts, "command": command}
            found = {model: round(value, 4) for model, value in unseen.items() if value is not None}
            if found:
                own["detection_unseen"] = {**found, "num_test": counts["num_test"], "command": command}
        if repairs:
            own["repair"] = {
                **{model: _repair_entry(bench, model, results) for model, results in repairs.items()},
                **_counts({model: int(results[0].poisoned.sum()) for model, results in repairs.items()}),
                "command": command,
            }
        dataset = str(bench.zoos[name].recipe["dataset"])
        block[name if datasets.count(dataset) > 1 else dataset] = own
    return block


def _counts(networks: Mapping[str, int]) -> dict[str, int]:
    """``num_test``, and ``num_test_MODEL`` for every model that was measured on fewer."""
    most = max(networks.values())
    return {"num_test": most, **{f"num_test_{model}": count for model, count in networks.items() if count < most}}


def _all(scores: Scores) -> Any:
    return np.ones(len(scores.poisoned), dtype=bool)


def _spread(figure: Figure | None) -> str:
    """Mean ± std (interval)."""
    if figure is None:
        return "–"
    spread = f" ± {figure.std:.3f}" if figure.num_seeds > 1 else ""
    return f"{figure.mean:.3f}{spread} ({figure.low:.3f} – {figure.high:.3f})"


def _short(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    return f"{figure.mean:.3f} ± {figure.std:.3f}" if figure.num_seeds > 1 else f"{figure.mean:.3f}"


def _seen_table(bench: Bench, zoo: str) -> Table:
    rows, ours = [], bench.scores(zoo, OURS) if OURS in bench.config.detectors else None
    num_bases = 0
    for model in bench.config.detectors:
        scores = bench.scores(zoo, model)
        if scores is None:
            continue
        entry = DETECTORS[model]
        figures = detection_figures(scores, probability=entry.probability)
        num_bases = max(num_bases, len(set(scores.bases.tolist())))
        behind = "" if ours is None or model == OURS else _spread_plain(auc_difference(ours, scores))
        rows.append(
            (
                entry.title,
                _spread(figures["auc"]),
                behind,
                _short(figures["tpr"]),
                _short(figures.get("ece")),
                entry.needs.format(num_clean_images=bench.config.num_clean_images),
                str(len(scores.poisoned)),
                str(figures["auc"].num_seeds),
            )
        )
    return Table(
        f"{zoo}: detection, families seen in training",
        ("detector", "AUC", "behind ScaleGMN", "TPR at 5 % FPR", "calibration error", "needs", "networks", "seeds"),
        tuple(rows),
        f"Test networks of {num_bases} bases; slow detectors score some of them. Mean ± standard deviation over seeds; "
        f"in brackets the 95 % bootstrap interval over bases. Differences are paired by base. ScaleGMN's probabilities "
        f"are calibrated on validation networks, the rivals' are as they are.",
    )


def _spread_plain(figure: Figure) -> str:
    return f"{figure.mean:.3f} ({figure.low:.3f} – {figure.high:.3f})"


def _groups(scores: Scores, by: str) -> dict[str, Any]:
    """Masks of the trojaned networks of each group, with all healthy networks."""
    healthy = ~scores.poisoned
    if by == "ASR":
        top = ASR_BANDS[-1]
        masks = {
            f"ASR {low:g} – {high:g}": (scores.asr >= low) & ((scores.asr < high) | ((low, high) == top))
            for low, high in ASR_BANDS
        }
    else:
        values = scores.attacks if by == "family" else scores.origins
        masks = {str(value): values == value for value in sorted({str(value) for value in values})}
    return {name: healthy | mask for name, mask in masks.items() if (mask & scores.poisoned).any()}


def family_figures(scores: Scores) -> dict[str, Figure]:
    """AUC on each family's trojaned networks against all healthy ones."""
    return {name: mean_auc(scores, mask) for name, mask in _groups(scores, "family").items()}


def _group_table(bench: Bench, zoo: str, by: str) -> Table:
    found = {model: bench.scores(zoo, model) for model in bench.config.detectors}
    measured = {model: scores for model, scores in found.items() if scores is not None}
    most = max(measured.values(), key=lambda scores: len(scores.poisoned), default=None)
    names = [] if most is None else list(_groups(most, by))
    rows = []
    for model, scores in measured.items():
        groups = _groups(scores, by)
        cells = (_short(mean_auc(scores, groups[name]) if name in groups else None) for name in names)
        rows.append((DETECTORS[model].title, *cells))
    title = {"family": "family of attacks", "ASR": "attack success rate", "origin": "what the attacker started from"}[
        by
    ]
    note = "AUC of the group's trojaned networks against all healthy ones."
    if most is not None:
        counts = [f"{int((mask & most.poisoned).sum())} {name}" for name, mask in _groups(most, by).items()]
        few = any(len(scores.poisoned) < len(most.poisoned) for scores in measured.values())
        note += f" Trojaned networks: {', '.join(counts)}{'; fewer for slow detectors' if few else ''}."
    return Table(f"{zoo}: detection by {title}", ("detector", *names), tuple(rows), note)


def unseen_figures(bench: Bench, zoo: str, model: str) -> dict[str, Figure]:
    """AUC on each family by the detector that was trained without it."""
    figures = {}
    for family in bench.config.families or families_of(bench.zoos[zoo]):
        scores = bench.scores(zoo, model, left_out=family)
        if scores is not None:
            figures[family] = mean_auc(scores, ~scores.poisoned | (scores.attacks == family))
    return figures


def _unseen_mean(bench: Bench, zoo: str, model: str) -> float | None:
    figures = unseen_figures(bench, zoo, model)
    return float(np.mean([figure.mean for figure in figures.values()])) if figures else None


def _unseen_table(bench: Bench, zoo: str) -> Table:
    families = bench.config.families or families_of(bench.zoos[zoo])
    rows = []
    for model in bench.config.trained_unseen:
        figures, mean = unseen_figures(bench, zoo, model), _unseen_mean(bench, zoo, model)
        if mean is not None:
            cells = (_short(figures.get(family)) for family in families)
            rows.append((DETECTORS[model].title, f"{mean:.3f}", *cells))
    return Table(
        f"{zoo}: detection, one family left out of training",
        ("detector", "mean", *families),
        tuple(rows),
        "AUC of the left-out family's trojaned networks against all healthy ones. A family is how an attack labels, "
        "where that is special (clean-label, all-to-all), else the kind of its trigger, which may occur under "
        "other labels.",
    )


def _sizes_table(bench: Bench, zoo: str) -> Table:
    rows = []
    for model in bench.config.trained_on_fewer:
        found = [bench.scores(zoo, model, bases=size) for size in bench.config.sizes] + [bench.scores(zoo, model)]
        if any(scores is not None for scores in found[:-1]):
            cells = (_short(None if scores is None else mean_auc(scores, _all(scores))) for scores in found)
            rows.append((DETECTORS[model].title, *cells))
    num_bases = len(set(bench.zoos[zoo].split("train").column("base_id")))
    num_validation = len(set(bench.zoos[zoo].split("validation").column("base_id")))
    heads = ("detector", *map(str, bench.config.sizes), f"all {num_bases}")
    note = f"In each, all {num_validation} validation bases choose the checkpoint, and ScaleGMN's calibration."
    return Table(f"{zoo}: AUC against the number of training bases", heads, tuple(rows), note)


def _transfer_table(bench: Bench, zoo: str) -> Table:
    others = [name for name in bench.zoos if name != zoo]
    rows = []
    for model in bench.config.detectors:
        found = [bench.scores(zoo, model, on=other) for other in others]
        if any(scores is not None for scores in found):
            cells = (_spread(None if scores is None else mean_auc(scores, _all(scores))) for scores in found)
            rows.append((DETECTORS[model].title, *cells))
    heads = ("detector", *(f"AUC on {other}" for other in others))
    return Table(f"{zoo}: trained here, applied elsewhere", heads, tuple(rows))


def _repair_table(bench: Bench, zoo: str) -> Table:
    rows = []
    for model in bench.config.repairers:
        results = bench.repairs(zoo, model)
        if not results:
            continue
        figures, entry = repair_figures(results), REPAIRERS[model]
        seconds = float(np.mean([one.seconds_per_network for one in results]))
        rows.append(
            (
                entry.title,
                *(_spread(figures[name]) for name in ("asr", "ra", "clean_accuracy", "lost")),
                _short(figures.get("healthy_lost")),
                f"{1000 * seconds:.1f} ms" if seconds < 0.1 else f"{seconds:.2f} s",
                str(bench.config.num_clean_images if entry.uses_images else 0),
                str(int(results[0].poisoned.sum())),
                str(len(results)),
            )
        )
    few = "; those that train on images repair some of them" if len({row[-2] for row in rows}) > 1 else ""
    choices = {model: choice for model in bench.config.repairers if (choice := bench.choice(zoo, model))}
    chosen = "; ".join(f"{REPAIRERS[model].title}: {choice}" for model, choice in choices.items())
    num_bases = max((choice.num_bases for choice in choices.values()), default=0)
    settings = f" Settings, the best of those tried on {num_bases} validation bases: {chosen}." if choices else ""
    heads = ("ASR", "RA", "clean accuracy", "lost", "lost by healthy ones", "time a network", "images asked for")
    return Table(
        f"{zoo}: repair",
        ("repairer", *heads, "networks", "seeds"),
        tuple(rows),
        f"Trojaned test networks, {bench.config.num_images or 'all'} test images{few}.{settings}",
    )


def _repair_comparison(bench: Bench, zoo: str) -> Table:
    """ScaleGMN's repair against each other one, on the networks that both repaired."""
    ours = bench.repairs(zoo, OURS) if OURS in bench.config.repairers else []
    rows = []
    for model in bench.config.repairers:
        others = bench.repairs(zoo, model)
        if ours and others and model != OURS:
            figures = repair_differences(ours, others)
            cells = (_spread_plain(figures[name]) for name in ("asr", "ra", "clean_accuracy"))
            rows.append((REPAIRERS[model].title, *cells))
    return Table(
        f"{zoo}: ScaleGMN's repair less the other's, on the same networks",
        ("other", "ASR", "RA", "clean accuracy"),
        tuple(rows),
        "Differences are paired by base; in brackets the 95 % bootstrap interval over bases.",
    )


def _repair_entry(bench: Bench, model: str, results: Sequence[RepairResults]) -> dict[str, Any]:
    figures = repair_figures(results)
    return {
        **{name: round(figures[name].mean, 4) for name in ("asr", "clean_accuracy", "ra")},
        "seconds_per_network": round(float(np.mean([one.seconds_per_network for one in results])), 5),
        "images": bench.config.num_clean_images if REPAIRERS[model].uses_images else 0,
    }
