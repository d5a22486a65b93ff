"""write_report: results to one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from zoovet.errors import ZoovetError
from zoovet.evaluation.measured import Measured
from zoovet.evaluation.report.drawing import default_settings
from zoovet.evaluation.report.sections.classification import classification_section
from zoovet.evaluation.report.sections.detection import detection_section
from zoovet.evaluation.report.sections.editing import editing_section
from zoovet.evaluation.report.sections.generalization import generalization_section
from zoovet.evaluation.report.sections.networks import network_rows
from zoovet.evaluation.report.sections.repair import edits_section, examples_section, repair_section
from zoovet.evaluation.report.sections.zoo import zoo_section
from zoovet.evaluation.report.templating import report_environment, report_file
from zoovet.evaluation.zoo_summary import ZooSummary
from zoovet.files import write_text

__all__ = ["Provenance", "write_report"]

_BLOCKS = {
    "detection": "detection",
    "repair": "repair",
    "inr_classification": "classification",
    "inr_editing": "editing",
    "generalization": "generalization",
}
"""Blocks of the figures, and the name of each one's section and template."""


_SUBJECTS = {
    "detection": "which networks carry a trojan",
    "repair": "what repair does to trojaned networks",
    "classification": "what INRs show, told from their weights",
    "editing": "pictures changed by changing weights",
    "generalization": "how accurate networks are, told from their weights",
}


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How the results came about.

    Attributes:
        zoo: Where the zoo lies.
        commands: Commands that make the same again, in order.
        versions: Versions by program: python, torch, zoovet, ….
        device: What it ran on.
        finished: When, as people write it.
        notes: Anything else that a reader must know.
        warnings: What a reader must know first: the page's first lines.
    """

    zoo: str
    commands: Sequence[str]
    versions: Mapping[str, str]
    device: str
    finished: str
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()


@default_settings()
def write_report(
    path: Path, *, figures: Mapping[str, Any], zoo: ZooSummary | None, measured: Measured, provenance: Provenance
) -> None:
    """Write the report: one HTML file that needs nothing else, atomically.

    Sections whose part was not evaluated (``None``, or no examples) are left out.

    Args:
        path: The file, such as ``report.html``.
        figures: What :func:`zoovet.evaluation.figures.headline_figures` made of the same results.
        zoo: What the zoo holds.
        measured: What was measured.
        provenance: How it was made.

    Raises:
        ZoovetError: ``figures`` belong to other results.
    """
    parts = measured.parts
    for block, name in _BLOCKS.items():
        results = parts.get(block)
        if (block in figures) != (results is not None) or (
            results is not None and figures[block]["num_networks"] != len(results)
        ):
            raise ZoovetError(f"the figures are not those of the {name} results; make them with headline_figures")
    page = report_environment().get_template("page.html.j2")
    sections = _sections(measured, figures)
    tasks = [name for name in _BLOCKS.values() if sections[name] is not None]
    heading = ", and ".join(_SUBJECTS[name] for name in tasks) or "what the zoo holds"
    write_text(
        path,
        page.render(
            style=Markup(report_file("style.css")),
            figures=figures,
            zoo=None if zoo is None else zoo_section(zoo),
            tasks=tasks,
            heading=heading[0].upper() + heading[1:],
            networks=network_rows(measured.detection, measured.repair),
            provenance=provenance,
            **sections,
        ),
    )


def _sections(measured: Measured, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates show, ``None`` or nothing for parts that were not evaluated."""
    detection, repair, classification = measured.detection, measured.repair, measured.classification
    editing, generalization = measured.editing, measured.generalization
    return {
        "detection": None if detection is None else detection_section(detection, figures["detection"]),
        "repair": None if repair is None else repair_section(repair, figures["repair"]),
        "edits": None if repair is None else edits_section(repair),
        "examples": [] if repair is None else examples_section(measured.examples, repair),
        "classification": None
        if classification is None
        else classification_section(classification, figures["inr_classification"]),
        "editing": None
        if editing is None
        else editing_section(editing, figures["inr_editing"], measured.edit_examples),
        "generalization": None
        if generalization is None
        else generalization_section(generalization, figures["generalization"]),
    }
