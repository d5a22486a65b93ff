"""What a benchmark of strangers writes: all rows, figures, and a page of tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from zoovet.benchmark.drawing import dots_by_group
from zoovet.benchmark.figures import Figure
from zoovet.benchmark.html_page import PagePart, html_page
from zoovet.benchmark.strangers.config import images_name
from zoovet.benchmark.strangers.figures import OURS, stranger_figures
from zoovet.benchmark.strangers.results import StrangerResults
from zoovet.benchmark.strangers.tables import LEFT_OUT, stranger_tables
from zoovet.evaluation.report.drawing import default_settings
from zoovet.files import write_json, write_text
from zoovet.printable import printable

__all__ = ["write_stranger_benchmark"]


@default_settings()
def write_stranger_benchmark(results: StrangerResults, command: str) -> str:
    """Write ``benchmark.html``, ``benchmark.md``, ``results.json``, ``networks.parquet`` and ``rivals.parquet``.

    Args:
        results: What is on disk of a benchmark; the files go into its folder.
        command: What makes the same again.

    Returns:
        The tables as Markdown.
    """
    figures, config = stranger_figures(results), results.config
    tables = stranger_tables(config, figures)
    parts = [PagePart(f"One {LEFT_OUT[by]} left out", own, _plots(by, figures)) for by, own in tables.items()]
    rests_on = (
        f"{figures['networks']} networks of {figures['bases']} bases of {printable(config.zoo)}; reference images a "
        f"class: {images_name(config)}; trojaned networks of an ASR of at least {config.min_asr:g}. Evidence took "
        f"{figures['seconds']} processor seconds a network (median; all searches, whatever an effort reads)."
    )
    heading = "Which networks carry a trojan, of kinds that no training network was of"
    results.write()
    write_text(results.out / "benchmark.html", html_page(heading, rests_on, parts, command))
    lines = [table.markdown() for own in tables.values() for table in own]
    text = "\n".join(["# Benchmark of strangers", "", f"    {command}", "", rests_on, "", *lines])
    write_text(results.out / "benchmark.md", text)
    write_json(results.out / "results.json", {"command": command, **figures})
    return text


def _plots(by: str, figures: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    """AUC by kind on test networks, else on known ones."""
    found = figures["tables"].get(f"{by}, test") or figures["tables"].get(f"{by}, known")
    if found is None:
        return []
    kinds = [kind for kind, own in found.items() if OURS in own]
    marks = {
        "detector for strangers": [_figure(found[kind][OURS]) for kind in kinds],
        "greatest standing": [_figure(found[kind]["greatest"]) for kind in kinds],
    }
    names = [printable(kind) for kind in kinds]
    return [(f"AUC by {LEFT_OUT[by]}", dots_by_group(f"strangers-{by}", names, marks))] if kinds else []


def _figure(found: Mapping[str, float]) -> Figure:
    return Figure(found["auc"], 0.0, found["low"], found["high"], 1)
