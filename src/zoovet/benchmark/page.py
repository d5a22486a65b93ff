"""A benchmark's page: tables, plots, and what the attacks do to an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from markupsafe import Markup

from zoovet.benchmark.detectors import DETECTORS
from zoovet.benchmark.drawing import dots_by_group, lines_by_size, repair_points
from zoovet.benchmark.figures import Figure, mean_auc, repair_figures
from zoovet.benchmark.html_page import PagePart, html_page
from zoovet.benchmark.repairers import REPAIRERS
from zoovet.benchmark.tables import OURS, Bench, benchmark_tables, family_figures, trojan_block, unseen_figures
from zoovet.benchmark.trials import attacks_of, families_of
from zoovet.evaluation.report.drawing import default_settings
from zoovet.evaluation.report.pictures import png_data
from zoovet.files import write_json, write_text
from zoovet.zoo import Zoo
from zoovet.zoo.builders import trojan_recipe_of
from zoovet.zoo.image_arrays import load_images

__all__ = ["write_benchmark"]

_LEAD = "Detectors and repairers on the same test networks, whose bases neither training nor validation has seen."
_NUM_SHOWN = 6


@default_settings()
def write_benchmark(bench: Bench, command: str, data_root: Path | None = None) -> str:
    """Write ``benchmark.html``, ``benchmark.md`` and ``results.json`` into the benchmark's folder.

    Args:
        bench: Its results.
        command: What makes the same again.
        data_root: Where image datasets lie.

    Returns:
        The tables as Markdown.
    """
    tables = benchmark_tables(bench)
    parts = [
        PagePart(
            name,
            [table for table in tables if table.title.startswith(f"{name}: ")],
            _plots(bench, name),
            _pictured(zoo, data_root),
        )
        for name, zoo in bench.zoos.items()
    ]
    heading, lead = "Which networks carry a trojan, and what repair does to them", _LEAD
    write_text(bench.out / "benchmark.html", html_page(heading, lead, parts, command))
    text = "\n".join(["# Benchmark", "", f"    {command}", "", *(table.markdown() for table in tables)])
    write_text(bench.out / "benchmark.md", text)
    write_json(bench.out / "results.json", {"trojan": trojan_block(bench, command)})
    return text


def _plots(bench: Bench, zoo: str) -> list[tuple[str, Markup]]:
    """What each plot shows, and the plot."""
    families = list(families_of(bench.zoos[zoo]))
    seen = {
        DETECTORS[model].title: family_figures(scores)
        for model in bench.config.detectors
        if (scores := bench.scores(zoo, model)) is not None
    }
    unseen = {DETECTORS[model].title: unseen_figures(bench, zoo, model) for model in bench.config.trained_unseen}
    plots = []
    titles = {
        "seen": "Detection by family of attacks, all seen in training",
        "unseen": "Detection of a family left out",
    }
    for name, found in (("seen", seen), ("unseen", unseen)):
        marks = {title: [own.get(family) for family in families] for title, own in found.items() if own}
        plots += [(titles[name], dots_by_group(f"{zoo}-{name}", families, marks))] if marks else []
    if curves := _curves(bench, zoo):
        plots.append(("Detection against the number of training bases", lines_by_size(f"{zoo}-sizes", curves)))
    if repaired := _repaired(bench, zoo):
        plots.append(("Repair: upper left is best", repair_points(f"{zoo}-repair", repaired)))
    return plots


def _curves(bench: Bench, zoo: str) -> dict[str, list[tuple[int, Figure]]]:
    """AUC against training bases by detector, where there are at least two sizes."""
    curves = {}
    for model in bench.config.trained_on_fewer:
        points = []
        for size in (*bench.config.sizes, None):
            if (scores := bench.scores(zoo, model, bases=size)) is not None:
                count = size or len(set(bench.zoos[zoo].split("train").column("base_id")))
                points.append((count, mean_auc(scores, np.ones(len(scores.poisoned), dtype=bool))))
        if len(points) > 1:
            curves[DETECTORS[model].title] = points
    return curves


def _repaired(bench: Bench, zoo: str) -> dict[str, tuple[Figure, Figure]]:
    """ASR and clean accuracy by repairer, ours first."""
    points = {}
    for repairer in sorted(bench.config.repairers, key=lambda name: name != OURS):
        if results := bench.repairs(zoo, repairer):
            figures = repair_figures(results)
            points[REPAIRERS[repairer].title] = (figures["asr"], figures["clean_accuracy"])
    return points


def _pictured(zoo: Zoo, data_root: Path | None) -> list[tuple[str, list[tuple[str, str]]]]:
    """For every family a test image without and with some of its triggers: addresses and what they show."""
    images = load_images(trojan_recipe_of(zoo), data_root).test
    image = images[torch.tensor([0])].scaled()
    poisoned = zoo.select(zoo.column("poisoned"))
    attacks = attacks_of(poisoned)
    rows = []
    for family in families_of(zoo):
        places = np.flatnonzero(attacks == family)[:_NUM_SHOWN]
        shown = [(_address(image), "without trigger")]
        for place in places.tolist():
            trigger = poisoned.trigger(place)
            assert trigger is not None
            shown.append((_address(trigger.apply(image)), f"with a {trigger.kind} trigger"))
        rows.append((family, shown))
    return rows


def _address(image: torch.Tensor) -> str:
    """A ``data:`` address of an image [1, C, H, W] in [-1, 1]."""
    return png_data(((image[0] + 1) * 127.5).round().to(torch.uint8).numpy())
