"""Model Zoos (Schürholt et al. 2022, "Model Zoos: A Dataset of Diverse Populations of Neural Network Models")."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from zoovet.errors import ZoovetError
from zoovet.json_files import parse_json
from zoovet.printable import printable
from zoovet.text_files import read_text_file
from zoovet.zoo.importers.network_files import NetworkFiles, networks_in_files
from zoovet.zoo.importers.published import ImportOptions, MissingPartError
from zoovet.zoo.shards import COLUMNS

__all__ = ["open_model_zoos"]

_NAME = "model-zoos"
_CHECKPOINT = re.compile(r"checkpoint_(\d+)")
_MAX_BYTES = 64 << 20

_SETTINGS = {
    "model::nlin": "activation",
    "model::dropout": "dropout",
    "model::init_type": "init",
    "optim::optimizer": "optimizer",
    "optim::lr": "learning_rate",
    "optim::wd": "weight_decay",
    "training::batchsize": "batch_size",
    "seed": "seed",
}
_RESULTS = {
    "test_acc": "clean_accuracy",
    "test_loss": "test_loss",
    "train_acc": "train_accuracy",
    "train_loss": "train_loss",
}


def open_model_zoos(folder: Path, options: ImportOptions) -> NetworkFiles:
    """List the trainings below a folder, and read the graph of each one's last checkpoint.

    A training is a folder, as Ray Tune writes it: ``params.json``, ``result.json`` (a line an epoch) and
    ``checkpoint_000050/checkpoints``. A base is a training. Whether networks are trojaned was not published.

    Args:
        folder: Holds the trainings' folders, at any depth.
        options: ``read`` reads a checkpoint; ``dataset`` names the images; ``seed`` is that of the split.

    Raises:
        ZoovetError: There are no trainings, or a file of one is missing, damaged, or cannot be read.
    """
    rows = []
    for settings in sorted(folder.rglob("params.json")):
        training = settings.parent
        checkpoints = [
            (int(match[1]), path / "checkpoints")
            for path in training.iterdir()
            if (match := _CHECKPOINT.fullmatch(path.name)) and (path / "checkpoints").is_file()
        ]
        if not checkpoints:
            continue  # a training that ended before it wrote one
        epoch, path = max(checkpoints)
        row: dict[str, Any] = {"source": path.relative_to(folder).as_posix(), "epochs": epoch}
        row["base_id"] = training.relative_to(folder).as_posix()
        row |= _taken(_object(settings), _SETTINGS) | _taken(_results(training / "result.json", epoch), _RESULTS)
        rows.append(row)
    if not rows:
        raise MissingPartError(
            f"{printable(folder)} holds no trainings: folders with params.json, result.json and "
            "checkpoint_N/checkpoints"
        )
    return networks_in_files(_NAME, folder, rows, options)


def _object(path: Path) -> dict[str, Any]:
    value = parse_json(read_text_file(path, _MAX_BYTES), printable(path))
    if not isinstance(value, dict):
        raise ZoovetError(f"{printable(path)} holds no JSON object")
    return value


def _results(path: Path, epoch: int) -> dict[str, Any]:
    """What was measured at an epoch; nothing where that was not written down."""
    for line in reversed(read_text_file(path, _MAX_BYTES).splitlines()):
        value = parse_json(line, printable(path)) if line.strip() else None
        if isinstance(value, dict) and value.get("training_iteration") == epoch:
            return value
    return {}


def _taken(values: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Those of the values that our columns have; what is of another kind counts as not known."""
    taken: dict[str, Any] = {}
    for theirs, ours in names.items():
        value, kind = values.get(theirs), COLUMNS[ours]
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if kind == pa.string() and isinstance(value, str):
            taken[ours] = value
        elif kind == pa.float64() and is_number:
            taken[ours] = float(values[theirs])
        elif kind == pa.int64() and isinstance(value, int) and is_number:
            taken[ours] = value
    return taken
