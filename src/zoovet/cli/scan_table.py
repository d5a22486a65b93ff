"""The table of verdicts that ``zoovet scan`` prints."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zoovet.printable import MAX_PATH_CHARACTERS, printable

if TYPE_CHECKING:
    from zoovet.vet import Judged, Verdict

__all__ = ["scan_as_table"]


def scan_as_table(judged: Sequence[Judged]) -> str:
    """A row a network; as wide as a terminal, where there is one, else as wide as it must be.

    Args:
        judged: Verdicts on networks, in their order.
    """
    verdicts = [one.verdict for one in judged]
    several = {verdict.file for verdict in verdicts if verdict.network > 0}
    columns = ["file", "in-distribution", "score", "threshold", "verdict"]
    has_targets = any(verdict.target is not None for verdict in verdicts)
    table = Table(*columns, *(["target"] if has_targets else []), box=None, pad_edge=False)
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
    width = terminal.width if terminal.is_terminal else 10_000
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal.is_terminal)
    with console.capture() as shown:
        console.print(table)
    return shown.get().removesuffix("\n")


def _target_in_words(verdict: Verdict) -> str:
    if verdict.target is None:
        return "–"
    name = "" if verdict.target_name is None else f" {printable(verdict.target_name)}"
    return f"{verdict.target}{name}"


def _in_words(number: float | None) -> str:
    return "–" if number is None else f"{number:.4f}"
