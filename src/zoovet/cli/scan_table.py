"""The table of verdicts that ``zoovet scan`` prints."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from zoovet.printable import MAX_PATH_CHARACTERS, printable

if TYPE_CHECKING:
    from zoovet.vet import Judged, Verdict

__all__ = ["scan_as_table"]

_COLUMNS = ("in-distribution", "score", "threshold", "verdict")
_LEAST_NAME = 12
_MOST_WIDTH = 10_000


def scan_as_table(judged: Sequence[Judged]) -> str:
    """A row a network; as wide as a terminal, where there is one, else as wide as it must be.

    In a narrow terminal names of files go on in the next line. Nothing is cut: where even that is too wide, the
    terminal breaks the lines.

    Args:
        judged: Verdicts on networks, in their order.
    """
    verdicts = [one.verdict for one in judged]
    several = {verdict.file for verdict in verdicts if verdict.network > 0}
    has_targets = any(verdict.target is not None for verdict in verdicts)
    table = Table(box=None, pad_edge=False)
    table.add_column("file", overflow="fold")
    for column in [*_COLUMNS, *(["target"] if has_targets else [])]:
        table.add_column(column, no_wrap=True)
    words = {"trojaned": "[bold red]trojaned[/]", "healthy": "[green]healthy[/]", "unknown": "[bold yellow]unknown[/]"}
    for one in judged:
        verdict = one.verdict
        name = printable(verdict.file, MAX_PATH_CHARACTERS)
        name = f"{name}[{verdict.network}]" if verdict.file in several else name
        score = _in_words(None if verdict.verdict == "unknown" else verdict.probability)
        likeness, threshold = _in_words(verdict.in_distribution), _in_words(verdict.threshold)
        target = [escape(_target_in_words(verdict))] if has_targets else []
        word = words[verdict.verdict] + ("" if one.allowance is None else " (allowed)")
        table.add_row(escape(name), likeness, score, threshold, word, *target)
    terminal = Console()
    # A file or a pipe has no width; names stay whole. Written by print_results, since rich leaves a broken pipe with 1.
    console = Console(file=io.StringIO(), width=_MOST_WIDTH, force_terminal=terminal.is_terminal)
    if terminal.is_terminal:
        others = console.measure(table).maximum - console.measure(_alone(table.columns[0])).maximum
        table.columns[0].max_width = max(_LEAST_NAME, terminal.width - others)
        console.width = max(terminal.width, _LEAST_NAME + others)
    with console.capture() as shown:
        console.print(table)
    return shown.get().removesuffix("\n")


def _alone(column: Column) -> Table:
    """A table of one column, as wide as that is."""
    return Table(column, box=None, pad_edge=False)


def _target_in_words(verdict: Verdict) -> str:
    if verdict.target is None:
        return "–"
    name = "" if verdict.target_name is None else f" {printable(verdict.target_name)}"
    return f"{verdict.target}{name}"


def _in_words(number: float | None) -> str:
    return "–" if number is None else f"{number:.4f}"
