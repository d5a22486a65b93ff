"""``zoovet train``: from a zoo to a detector or a repairer."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from zoovet.cli.arguments import add_data_root, add_device, add_seed, device_name
from zoovet.cli.clock import clock
from zoovet.cli.outputs import require_own_folder
from zoovet.cli.plain_progress import PlainProgress
from zoovet.cli.status import EXIT_OK
from zoovet.config import read_config, read_yaml
from zoovet.errors import ZoovetError, nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from zoovet.tasks import DetectionConfig, Detector, RepairConfig, Repairer, TrainingProgress

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run", "train_with_progress"]

DESCRIPTION = """
Train a detector (is a network trojaned?) or a repairer (which change of its weights removes the trojan?) on a zoo.

  zoovet train configs/detection.yaml --data.zoo zoos/fmnist --out runs/detector
  zoovet train configs/repair.yaml --data.zoo zoos/fmnist --out runs/repairer --training.max_steps 500 --seed 1

CONFIG names its task (task: detection or repair). Only the zoo's training and validation networks are read; validation
chooses the checkpoint and the detector's threshold. Writes into --out: config.yaml, checkpoint.safetensors, run.json,
and log/ with metrics.csv and TensorBoard events. An interrupted run is resumed by the same command.

Time: as CONFIG says (training.max_steps, training.max_minutes); the bar says what is left.
"""

TAKES_OVERRIDES = True

_SHOWN = ("auc", "asr_after", "clean_accuracy_lost")
"""Validation figures that the bar has room for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("config", type=Path, metavar="CONFIG", help="configuration, a YAML file")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    add_seed(parser, "the configuration's")
    add_device(parser)
    add_data_root(parser)


def config_classes() -> dict[str, type[DataclassInstance]]:
    """A run of every task."""
    from zoovet.cli.train_configs import RUNS

    return {f"keys where task is {task}, in CONFIG or on the command line": cls for task, cls in RUNS.items()}


def run(arguments: argparse.Namespace) -> int:
    """Train, and say how validation went."""
    from zoovet.cli.train_configs import RUNS, task_config

    values, overrides = read_yaml(arguments.config), dict(arguments.overrides)
    task = overrides.get("task", values.get("task"))
    if task is None:
        raise ZoovetError(f"{arguments.config}: the key 'task' is missing; it takes {' or '.join(RUNS)}")
    if task not in RUNS:
        raise ZoovetError(f"{arguments.config}: task {task!r} is unknown{nearest(str(task), RUNS)}")
    if arguments.seed is not None:
        overrides["training.seed"] = arguments.seed
    config = read_config(RUNS[task], values, overrides, where=str(arguments.config))
    vetter = train_with_progress(
        task_config(config),
        config.data.zoo,
        arguments.out,
        device=device_name(arguments.device),
        data_root=arguments.data_root,
    )
    figures = ", ".join(f"{name} {value:.4g}" for name, value in vetter.description["validation"].items())
    print(f"{arguments.out}: {task} trained, on validation networks {figures}")
    return EXIT_OK


def train_with_progress(
    config: DetectionConfig | RepairConfig, zoo_path: Path, out: Path, *, device: str, data_root: Path | None
) -> Detector | Repairer:
    """Train while a bar shows steps, loss, the last validation and the time left.

    Raises:
        KeyboardInterrupt: Ctrl-C; its message says how to go on.
    """
    from zoovet.tasks import DetectionConfig, train_detector, train_repairer
    from zoovet.zoo import TrojanRecipe, Zoo
    from zoovet.zoo.trojan_builder import load_images

    zoo = Zoo.open(zoo_path, verify=True)
    require_own_folder(out, "run.json", "a training run")
    with training_bar() as bar:
        try:
            if isinstance(config, DetectionConfig):
                return train_detector(config, zoo, out, device=device, progress=bar)
            images = load_images(read_config(TrojanRecipe, zoo.recipe), data_root).train
            return train_repairer(config, zoo, images, out, device=device, progress=bar)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{out} keeps the last validated state; the same command resumes there") from None


@contextmanager
def training_bar() -> Iterator[Callable[[TrainingProgress], None]]:
    """A progress bar on standard error that is given a training's progress."""
    columns = (
        TextColumn("training"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[texts][step]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[texts][left]}"),
        TextColumn("{task.fields[texts][figures]}"),
    )
    console = Console(stderr=True)
    display, plain = Progress(*columns, console=console), PlainProgress(console)
    task = display.add_task("training", total=1.0, texts={"step": "", "left": "", "figures": ""})
    validated: list[dict[str, float] | None] = [None]

    def show(progress: TrainingProgress) -> None:
        left = progress.seconds * (1 / progress.fraction - 1) if progress.fraction > 0 else None
        shown = {name: value for name, value in (progress.figures or {}).items() if name in _SHOWN}
        texts = {
            "step": f"step {progress.step}/{progress.max_steps}",
            "left": "" if left is None else f"{clock(left)} left",
            "figures": " ".join(f"{name} {value:.3g}" for name, value in {"loss": progress.loss, **shown}.items()),
        }
        if not console.is_terminal:
            important = progress.figures is not validated[0]
            validated[0] = progress.figures
            plain.line("  ".join(["training", *filter(None, texts.values())]), important=important)
            return
        display.start()
        display.update(task, completed=progress.fraction, texts=texts)

    try:
        yield show
    finally:
        if display.live.is_started:
            display.stop()
