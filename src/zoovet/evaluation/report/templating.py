"""What the pages are made with: templates of this folder, all text escaped, and files that go into pages."""

from __future__ import annotations

from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined

from zoovet.evaluation.report.formats import FILTERS
from zoovet.printable import printable

__all__ = ["report_environment", "report_file"]


def report_environment() -> Environment:
    """Templates by name, with the filters of figures, and ``shown`` for what comes from a stranger."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: report_file(f"templates/{name}")),
    )
    environment.filters |= FILTERS | {"shown": printable}
    return environment


def report_file(name: str) -> str:
    """The text of a file of this folder: ``style.css``."""
    return resources.files("zoovet.evaluation.report").joinpath(name).read_text(encoding="utf-8")
