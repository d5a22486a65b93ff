"""How far a repair is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from zoovet.progress_texts import share_done

__all__ = ["repair_bar"]


@contextmanager
def repair_bar() -> Iterator[Callable[[str], None]]:
    """A bar on standard error with what is done, gone when it ends; a line for each step where that is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _print_line
        return
    columns = (
        TextColumn("repairing"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[doing]}"),
    )
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("repairing", total=1.0, doing="")

        def show(doing: str) -> None:
            share = max(share_done(doing) or 0.0, display.tasks[0].completed)
            display.update(task, completed=share, doing=escape(doing))

        yield show


def _print_line(doing: str) -> None:
    print(doing, file=sys.stderr, flush=True)
