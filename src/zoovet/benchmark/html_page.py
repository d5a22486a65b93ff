"""A benchmark's tables and plots as one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from zoovet.benchmark.table import Table

__all__ = ["PagePart", "html_page"]


@dataclass(frozen=True)
class PagePart:
    """What the page shows of one zoo, or of one way of being a stranger.

    Attributes:
        name: Its heading.
        tables: Below it, after the plots.
        plots: What each shows, and the plot.
        attacks: Of each family some pictures: their addresses, and what they show.
    """

    name: str
    tables: Sequence[Table]
    plots: Sequence[tuple[str, Markup]] = ()
    attacks: Sequence[tuple[str, list[tuple[str, str]]]] = field(default=(), repr=False)


def html_page(heading: str, lead: str, parts: Sequence[PagePart], command: str) -> str:
    """The page.

    Args:
        heading: What the benchmark asks.
        lead: What it rests on, in a sentence.
        parts: One after another.
        command: What makes the same again.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_resource("zoovet.benchmark", "page.html.j2"))
    style = Markup(_resource("zoovet.evaluation.report", "style.css"))
    return template.render(style=style, heading=heading, lead=lead, parts=parts, command=command)


def _resource(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")
