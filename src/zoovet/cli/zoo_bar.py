"""The progress bar of verbs that make a zoo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from zoovet.cli.clock import clock
from zoovet.cli.keeping import saying_what_is_kept, shards_kept
from zoovet.cli.plain_progress import PlainProgress

if TYPE_CHECKING:
    from zoovet.zoo import BuildProgress

__all__ = ["ZooBar", "zoo_bar"]


class ZooBar(Protocol):
    """Is told how far the making of a zoo is."""

    def __call__(self, progress: BuildProgress, /) -> None:
        """Show it."""


@contextmanager
def zoo_bar(doing: str, out: Path) -> Iterator[ZooBar]:
    """A progress bar on standard error with networks, rate and time left.

    Args:
        doing: What goes on: ``building``.
        out: Folder of the zoo that is made.

    Raises:
        KeyboardInterrupt: Ctrl-C; its message says what was kept and how to go on.
        ZoovetError: The disk is full, or the like; so does its message.
    """
    columns = (
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("networks  {task.fields[texts][rate]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[texts][left]}"),
    )
    console = Console(stderr=True)
    display, plain = Progress(*columns, console=console), PlainProgress(console)
    task = display.add_task(doing, total=None, texts={"rate": "", "left": ""})

    def show(progress: BuildProgress) -> None:
        rate = progress.networks_per_second
        seconds = (progress.total - progress.num_networks) / rate if rate > 0 else None
        texts = {
            "rate": f"{rate:.1f}/s" if rate > 0 else "",
            "left": "" if seconds is None else f"{clock(seconds)} left",
        }
        if not console.is_terminal:
            count = f"{doing}  {progress.num_networks}/{progress.total} networks"
            plain.line("  ".join([count, *filter(None, texts.values())]))
            return
        display.start()
        display.update(task, completed=progress.num_networks, total=progress.total, texts=texts)

    try:
        with saying_what_is_kept(out, lambda: shards_kept(out)):
            yield show
    finally:
        if display.live.is_started:
            display.stop()
