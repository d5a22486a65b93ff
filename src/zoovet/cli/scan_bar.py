"""The progress bar of a scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from zoovet.progress_texts import share_done

if TYPE_CHECKING:
    from zoovet.vet import ScanProgress

__all__ = ["scan_bar"]


@contextmanager
def scan_bar(num_files: int, *, quiet: bool) -> Iterator[Callable[[ScanProgress], None] | None]:
    """A progress bar on standard error with files, networks, their rate and what is sought; gone when it ends.

    Args:
        num_files: Files that are scanned.
        quiet: Whether there is none; nor is there where standard error is no terminal.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("scanning"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files  {task.fields[networks]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[sought]}"),
    )
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("scanning", total=num_files, networks="", sought="")

        def show(progress: ScanProgress) -> None:
            elapsed = display.tasks[0].elapsed or 0.0
            rate = f", {progress.num_networks / elapsed:.1f}/s" if elapsed > 0 else ""
            sought = escape(f"seeking {progress.sought}") if progress.sought else ""
            networks = f"{progress.num_networks} networks{rate}"
            share = share_done(progress.sought) or 0.0  # of the network that is looked at
            display.update(task, completed=progress.num_files + share, networks=networks, sought=sought)

        yield show
