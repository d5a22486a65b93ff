"""The progress bars of a training, and of the inversion before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from zoovet.cli.clock import clock
from zoovet.cli.plain_progress import PlainProgress

if TYPE_CHECKING:
    from zoovet.tasks.training_config import InversionProgress, TrainingProgress

__all__ = ["Show", "training_bar", "training_bars"]

Show = Callable[["TrainingProgress | InversionProgress"], None]


@contextmanager
def training_bar(figures: Sequence[str]) -> Iterator[Show]:
    """Bars on standard error that are given a training's progress: one for inversion, one for steps.

    Args:
        figures: Names of the validation figures that are shown.
    """
    with training_bars({"": figures}) as shows:
        yield shows[""]


@contextmanager
def training_bars(figures: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Show]]:
    """The same for several trainings at once: for each name what is given its progress, from whatever thread.

    Args:
        figures: Name of each training → names of the validation figures that are shown.
    """
    display = _display()
    try:
        yield {name: _Bars(name, theirs, display).show for name, theirs in figures.items()}
    finally:
        if display.live.is_started:
            display.stop()


def _display() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[texts][count]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[texts][left]}"),
        TextColumn("{task.fields[texts][figures]}"),
    )
    return Progress(*columns, console=Console(stderr=True))


class _Bars:
    """One line a stage of one training; where there is no terminal, lines now and then."""

    def __init__(self, name: str, figures: Sequence[str], display: Progress) -> None:
        self._name, self._figures, self._display = name, figures, display
        self._plain = PlainProgress(display.console)
        self._tasks: dict[str, TaskID] = {}
        self._validated: dict[str, float] | None = None

    def show(self, progress: TrainingProgress | InversionProgress) -> None:
        """Show how it goes."""
        from zoovet.tasks.training_config import InversionProgress

        if isinstance(progress, InversionProgress):
            fraction, texts = progress.num_networks / progress.total, _inversion_texts(progress)
            self._line("inverting", fraction, texts, important=fraction == 1)
            return
        important = progress.figures != self._validated or bool(progress.ended)
        self._validated = progress.figures
        self._line("training", progress.fraction, _training_texts(progress, self._figures), important=important)

    def _line(self, stage: str, fraction: float, texts: dict[str, str], *, important: bool) -> None:
        title = f"{self._name}: {stage}" if self._name else stage
        if not self._display.console.is_terminal:
            self._plain.line("  ".join([title, *filter(None, texts.values())]), important=important)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._display.add_task(title, total=1.0, texts=texts)
        self._display.start()
        self._display.update(self._tasks[stage], completed=fraction, texts=texts)


def _inversion_texts(progress: InversionProgress) -> dict[str, str]:
    rate = progress.num_networks / progress.seconds if progress.seconds > 0 else 0.0
    return {
        "count": f"{progress.num_networks}/{progress.total} networks",
        "left": f"{clock((progress.total - progress.num_networks) / rate)} left" if rate else "",
        "figures": f"{rate:.1f}/s" if rate else "",
    }


def _training_texts(progress: TrainingProgress, figures: Sequence[str]) -> dict[str, str]:
    left = progress.seconds * (1 / progress.fraction - 1) if progress.fraction > 0 else None
    shown = {name: value for name, value in (progress.figures or {}).items() if name in figures}
    return {
        "count": f"step {progress.step}/{progress.max_steps}",
        "left": progress.ended or ("" if left is None else f"{clock(left)} left"),
        "figures": " ".join(f"{name} {value:.3g}" for name, value in {"loss": progress.loss, **shown}.items()),
    }
