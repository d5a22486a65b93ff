"""The Small CNN Zoo (Unterthiner et al. 2020, "Predicting Neural Network Accuracy from Weights")."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.zoo.importers.nfn_split import LAST_STEP, nfn_split, read_permutation
from zoovet.zoo.importers.published import ImportOptions, published_recipe, size_remark
from zoovet.zoo.importers.small_cnn_networks import (
    SmallCnnNetworks,
    SmallCnnTables,
    bases_of,
    draw_splits,
    facts_of,
    read_tables,
)
from zoovet.zoo.importers.small_cnn_tables import whole_numbers
from zoovet.zoo.recipe_parts import SplitShares

__all__ = ["open_small_cnn_zoo"]

_NAME = "small-cnn-zoo"
_PADDING = 0
"""The released training code (google-research, dnn_predict_accuracy/train_network.py) leaves Keras's ``valid``."""

_NUM_PUBLISHED = {"cifar10": 270_000, "fashion_mnist": 270_000, "mnist": 269_973, "svhn_cropped": 269_892}
"""Rows of each dataset, from the README of the release."""

_DRAWN = SplitShares(train=0.4, validation=0.1, test=0.5)
"""The shares of the NFN split."""


def open_small_cnn_zoo(folder: Path, options: ImportOptions) -> SmallCnnNetworks:
    """Read the tables of a Small CNN Zoo.

    Checkpoints of one training, those in one folder, share a base. With a split file, every checkpoint goes where the
    protocol puts its training's last one; a training without a last checkpoint, which the protocol leaves out, goes to
    the training set. Without, trainings are drawn: 40 % train, 10 % validation, 50 % test.

    Args:
        folder: Holds ``weights.npy``, ``metrics.csv.gz``, ``layout.csv``.
        options: ``split_file`` is the NFN split of this dataset; ``seed`` that of the drawn split.

    Raises:
        ZoovetError: Files are missing, damaged, or do not fit one another or the split.
    """
    tables = read_tables(folder, _NAME)
    bases = bases_of([path.rpartition("/")[0] for path in tables.paths])
    steps = whole_numbers(tables.metrics, "step", tables.metrics_path)
    num_published = _NUM_PUBLISHED[tables.published_dataset]
    remarks = [size_remark(len(bases), num_published, f"rows of {tables.published_dataset}")]
    split: dict[str, Any]
    if options.split_file is None:
        splits = draw_splits(bases, _DRAWN, options.seed)
        split = {"protocol": "drawn by training", "shares": asdict(_DRAWN), "seed": options.seed}
    else:
        permutation = read_permutation(options.split_file, len(bases))
        splits, num_left = _protocol_splits(permutation, bases, steps, tables)
        split = {"protocol": "nfn", "file_sha256": hashlib.sha256(options.split_file.read_bytes()).hexdigest()}
        if num_left:
            remarks.append(f"{num_left:,} trainings without a checkpoint at step {LAST_STEP} were put into train")
    ids = [f"{base:05d}-{step:02d}" for base, step in zip(bases, steps, strict=True)]
    return SmallCnnNetworks(
        graphs=tables.graphs(_PADDING),
        recipe=published_recipe(_NAME, tables.dataset, tables.grid, tables.sha256, split),
        remarks=tuple(remarks),
        tables=tables,
        facts=facts_of(tables, ids, bases, splits),
    )


def _protocol_splits(
    permutation: NDArray[np.int64], bases: NDArray[np.int64], steps: NDArray[np.int64], tables: SmallCnnTables
) -> tuple[list[str], int]:
    """Every row's split by the NFN protocol, and the number of trainings that it does not mention."""
    is_last = steps == LAST_STEP
    if not is_last.any():
        raise ZoovetError(
            f"{tables.metrics_path} has no row with step {LAST_STEP}, the last checkpoint, which the split file's "
            f"protocol goes by; import it without --split-file"
        )
    of_bases: dict[int, str] = {int(bases[row]): name for row, name in nfn_split(permutation, is_last).items()}
    num_left = int(bases.max()) + 1 - len(of_bases)
    return [of_bases.get(int(base), "train") for base in bases], num_left
