"""``zoovet train``: from a zoo to a trained metanetwork, for every task."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoovet.cli.arguments import add_data_root, add_device, add_seed, at_least_one, chosen_kind, device_name
from zoovet.cli.keeping import saying_what_is_kept
from zoovet.cli.outputs import require_own_folder
from zoovet.cli.status import EXIT_OK
from zoovet.cli.trained_runs import TrainedRun
from zoovet.cli.training_bar import training_bar
from zoovet.config import read_config, read_yaml
from zoovet.errors import ZoovetError
from zoovet.folder_lock import require_free_folder

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from zoovet.cli.train_configs import Trained, TrainingData
    from zoovet.cli.training_bar import Show

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run", "train_with_progress"]

DESCRIPTION = """
Train a metanetwork on a zoo. CONFIG names its task:

  detection            is a network trojaned?
  repair               which change of its weights removes the trojan?
  inr_classification   what does the picture of a SIREN show?
  inr_editing          which change of its weights edits the picture?
  generalization       how accurate is a network on test images?
  strangers            is a network of a graph and a dataset that no zoo has trojaned, and towards which class?

  zoovet train configs/detection.yaml --data.zoo zoos/fmnist --out runs/detector
  zoovet train configs/repair.yaml --data.zoo zoos/fmnist --out runs/repairer --training.max_steps 500 --seed 1
  zoovet train configs/strangers.yaml --data.zoo zoos/park --data.workers 2 --out runs/strangers

Only the zoo's training and validation networks are read; validation chooses the checkpoint and what else there is to
choose. Writes into --out: config.yaml, checkpoint.safetensors, run.json, and log/ with metrics.csv and what
--logger says (TensorBoard events). An interrupted run is resumed by the same command.

Time: as CONFIG says (training.max_steps, training.max_minutes); the bar says what is left.
"""

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("config", type=Path, metavar="CONFIG", help="configuration, a YAML file")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    add_seed(parser, "the configuration's")
    add_device(parser)
    add_data_root(parser)
    parser.add_argument(
        "--processes",
        type=at_least_one,
        metavar="N",
        help="processes that share each step's networks; default 1, or training.processes as CONFIG says",
    )
    parser.add_argument(
        "--logger",
        choices=("tensorboard", "wandb", "none"),
        help="where figures go beside metrics.csv; default tensorboard, or training.logger as CONFIG says",
    )


def config_classes() -> dict[str, type[DataclassInstance]]:
    """A run of every task."""
    from zoovet.cli.train_configs import TASKS

    return {f"keys where task is {name}, in CONFIG or on the command line": task.run for name, task in TASKS.items()}


def run(arguments: argparse.Namespace) -> int:
    """Train, and say how validation went."""
    from zoovet.cli.train_configs import TASKS, task_config
    from zoovet.tasks.loggers import require_logger

    values, overrides = read_yaml(arguments.config), dict(arguments.overrides)
    task = chosen_kind(values, overrides, "task", list(TASKS), arguments.config)
    if arguments.seed is not None:
        overrides["training.seed"] = arguments.seed
    if arguments.processes is not None:
        if task == "strangers":
            raise ZoovetError(
                "--processes is no choice for the task strangers, whose steps take seconds; --data.workers N shares "
                "out the search for evidence"
            )
        overrides["training.processes"] = arguments.processes
    if arguments.logger is not None:
        overrides["training.logger"] = arguments.logger
    config = read_config(TASKS[task].run, values, overrides, where=str(arguments.config))
    if (logger := getattr(config.training, "logger", None)) is not None:  # a training of seconds logs nothing
        require_logger(logger)
    trained = train_with_progress(
        task,
        task_config(config),
        config.data,
        arguments.out,
        device=device_name(arguments.device),
        data_root=arguments.data_root,
    )
    figures = ", ".join(f"{name} {value:.4g}" for name, value in trained.description["validation"].items())
    print(f"{arguments.out}: {task} trained, on validation networks {figures}")
    if (cut_short := TrainedRun.read(arguments.out).cut_short) is not None:
        print(cut_short.describe())
    return EXIT_OK


def train_with_progress(
    task: str,
    config: Any,
    data: TrainingData,
    out: Path,
    *,
    device: str,
    data_root: Path | None,
    show: Show | None = None,
) -> Trained:
    """Train while a bar shows steps, loss, the last validation and the time left.

    Args:
        task: Its name in the table of tasks.
        config: The task's own configuration.
        data: What to train on.
        out: Folder of the run.
        device: ``cpu``, ``cuda`` or ``cuda:K``.
        data_root: Folder of image datasets; ``None``: the usual one.
        show: Given the progress instead of a bar.

    Raises:
        KeyboardInterrupt: Ctrl-C; its message says how to go on.
        ZoovetError: A damaged zoo; a folder that holds something else or that another process holds; a full disk.
    """
    from zoovet.cli.train_configs import TASKS, Place
    from zoovet.zoo import Zoo

    require_free_folder(out, "trained")
    zoo = Zoo.open(data.zoo, verify=True, finished_only=TASKS[task].takes_growing)
    require_own_folder(out, "run.json", "a training run", begun=("config.yaml", "log"))
    shown = training_bar(TASKS[task].shown) if show is None else nullcontext(show)
    with saying_what_is_kept(out, lambda: _kept(out)), shown as bar:
        place = Place(out=out, device=device, data_root=data_root, progress=bar)
        return TASKS[task].train(config, data, zoo, place)


def _kept(out: Path) -> str:
    if (out / "resume.ckpt").exists():
        return f"{out} keeps the last validated state; the same command resumes there"
    return "nothing was validated yet; the same command begins again"
