"""write_report: results to one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from zoovet.errors import ZoovetError
from zoovet.evaluation.examples import NetworkExamples
from zoovet.evaluation.report import sections
from zoovet.evaluation.results import DetectionResults, RepairResults
from zoovet.evaluation.zoo_summary import ZooSummary
from zoovet.files import write_text

__all__ = ["Provenance", "write_report"]


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
    """

    zoo: str
    commands: Sequence[str]
    versions: Mapping[str, str]
    device: str
    finished: str
    notes: Sequence[str] = ()


def write_report(
    path: Path,
    *,
    figures: Mapping[str, Any],
    zoo: ZooSummary | None,
    detection: DetectionResults | None,
    repair: RepairResults | None,
    examples: Sequence[NetworkExamples],
    provenance: Provenance,
) -> None:
    """Write the report: one HTML file that needs nothing else, atomically.

    Sections whose part was not evaluated (``None``, or no examples) are left out.

    Args:
        path: The file, such as ``report.html``.
        figures: What :func:`zoovet.evaluation.figures.headline_figures` made of the same results.
        zoo: What the zoo holds.
        detection: What detection measured.
        repair: What repair measured.
        examples: Images to show.
        provenance: How it was made.

    Raises:
        ZoovetError: ``figures`` belong to other results.
    """
    for name, results in (("detection", detection), ("repair", repair)):
        if (name in figures) != (results is not None) or (
            results is not None and figures[name]["num_networks"] != len(results)
        ):
            raise ZoovetError(f"the figures are not those of the {name} results; make them with headline_figures")
    write_text(path, _render(figures, zoo, detection, repair, examples, provenance))


def _render(
    figures: Mapping[str, Any],
    zoo: ZooSummary | None,
    detection: DetectionResults | None,
    repair: RepairResults | None,
    examples: Sequence[NetworkExamples],
    provenance: Provenance,
) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "number": _number,
        "thousands": _thousands,
        "interval": _interval,
        "percent": _percent,
        "duration": _duration,
        "signed": _signed,
    }
    template = environment.from_string(_resource("template.html.j2"))
    return template.render(
        style=Markup(_resource("style.css")),
        figures=figures,
        zoo=None if zoo is None else sections.zoo_section(zoo),
        detection=None if detection is None else sections.detection_section(detection, figures["detection"]),
        repair=None if repair is None else sections.repair_section(repair, figures["repair"]),
        edits=None if repair is None else sections.edits_section(repair),
        examples=sections.examples_section(examples, repair),
        networks=sections.network_rows(detection, repair),
        provenance=provenance,
    )


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _thousands(count: int) -> str:
    return f"{count:,}"


def _signed(value: float | None, digits: int = 3) -> str:
    """``+0.012``, ``−0.012``, and ``0.000`` without a sign where it rounds to zero."""
    if value is None:
        return "–"
    rounded = round(value, digits) or 0.0
    return (f"{rounded:+.{digits}f}" if rounded else f"{rounded:.{digits}f}").replace("-", "−")


def _interval(bounds: Sequence[float] | None, digits: int = 3) -> str:
    """``0.951 – 0.987``; a minus sign where it belongs."""
    return "" if bounds is None else " – ".join(f"{bound:.{digits}f}".replace("-", "−") for bound in bounds)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _duration(seconds: float) -> str:
    """``42 s``, ``7 min 5 s``, ``2 h 3 min``."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
