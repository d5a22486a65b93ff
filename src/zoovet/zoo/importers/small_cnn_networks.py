"""What the Small CNN Zoo and its trojan version share: from tables to rows of our format."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoovet.errors import ZoovetError, nearest
from zoovet.networks import Graph
from zoovet.zoo.importers.published import file_of
from zoovet.zoo.importers.small_cnn_tables import Layout, open_weights, read_layout, read_metrics, whole_numbers
from zoovet.zoo.recipe_parts import SplitShares

__all__ = ["SmallCnnNetworks", "SmallCnnTables", "bases_of", "draw_splits", "facts_of", "read_tables"]

_DATASETS = {
    "cifar10": ("cifar10", (32, 32)),
    "svhn_cropped": ("svhn", (32, 32)),
    "mnist": ("mnist", (28, 28)),
    "fashion_mnist": ("fashion-mnist", (28, 28)),
}
"""Our name and the grid of each dataset by its name in ``config.dataset``, which is that of TensorFlow Datasets."""

_ACTIVATIONS = ("relu", "tanh")
_TEXTS = {"config.activation": "activation", "config.optimizer": "optimizer", "config.w_init": "init"}
_NUMBERS = {
    "config.dropout": "dropout",
    "config.init_std": "init_std",
    "config.l2reg": "weight_decay",
    "config.learning_rate": "learning_rate",
    "config.train_fraction": "train_fraction",
    "test_accuracy": "clean_accuracy",
    "test_loss": "test_loss",
    "train_accuracy": "train_accuracy",
    "train_loss": "train_loss",
}
_INTEGERS = {"config.epochs": "epochs", "config.random_seed": "seed", "step": "step"}


@dataclass(frozen=True, eq=False, kw_only=True)
class SmallCnnTables:
    """The tables of one dataset, read and checked against one another.

    Attributes:
        folder: Where they are.
        metrics: One row a network: ``path`` and the published columns.
        layout: Of a row of weights.
        published_dataset: What ``config.dataset`` says of every network.
        dataset: Our name of it.
        grid: Height and width of its images.
        sha256: In hexadecimal, of the tables and the size of the weights.
    """

    folder: Path
    metrics: pa.Table
    layout: Layout
    published_dataset: str
    dataset: str
    grid: tuple[int, int]
    sha256: str

    @property
    def metrics_path(self) -> Path:
        """The file of ``metrics``."""
        return self.folder / "metrics.csv.gz"

    @property
    def paths(self) -> list[str]:
        """[N] the published path of every checkpoint."""
        paths: list[str] = self.metrics["path"].to_pylist()
        return paths

    def graphs(self, padding: int) -> dict[str, Graph]:
        """The graph of every activation that occurs.

        Raises:
            ZoovetError: The layout is none of networks on the dataset's images.
        """
        activations = sorted(set(self.metrics["config.activation"].to_pylist()))
        try:
            return {activation: self.layout.graph(activation, self.grid, padding) for activation in activations}
        except ZoovetError as error:
            raise ZoovetError(
                f"{self.folder / 'layout.csv'} is no layout of networks on {self.dataset}: {error}"
            ) from error


def read_tables(folder: Path, layout_name: str, more_numbers: tuple[str, ...] = ()) -> SmallCnnTables:
    """Read a dataset's tables; of the weights only how many they are.

    Args:
        folder: Holds ``weights.npy``, ``metrics.csv.gz``, ``layout.csv``.
        layout_name: The layout's name on the command line, for messages.
        more_numbers: Columns of the metrics beside those that every small CNN zoo has.

    Raises:
        ZoovetError: A file is missing or damaged, the tables do not fit one another, an accuracy is missing, or
            dataset or activation are none of the published ones.
    """
    metrics_path, layout_path, weights_path = (
        file_of(folder, name, layout_name) for name in ("metrics.csv.gz", "layout.csv", "weights.npy")
    )
    layout, weights = read_layout(layout_path), open_weights(weights_path)
    numbers = (*_NUMBERS, *_INTEGERS, *more_numbers)
    metrics = read_metrics(metrics_path, ("config.dataset", *_TEXTS), numbers)
    if len(metrics) != len(weights):
        raise ZoovetError(
            f"{metrics_path} has {len(metrics)} rows, {weights_path} {len(weights)}; both have one row a checkpoint"
        )
    if len(layout.order) != weights.shape[1]:
        raise ZoovetError(
            f"{layout_path} describes {len(layout.order)} numbers a network, {weights_path} has {weights.shape[1]}"
        )
    accuracies = metrics["test_accuracy"].to_numpy()
    wrong = np.flatnonzero(~((accuracies >= 0) & (accuracies <= 1)))
    if len(wrong):
        raise ZoovetError(
            f"{metrics_path}: test_accuracy is missing or outside [0, 1] in row {wrong[0]} "
            f"({metrics['path'][int(wrong[0])]})"
        )
    published = _one_of(metrics, "config.dataset", tuple(_DATASETS), metrics_path)
    if len(published) > 1:
        raise ZoovetError(
            f"{metrics_path}: config.dataset is {' and '.join(published)}; expected is one dataset a file"
        )
    _one_of(metrics, "config.activation", _ACTIVATIONS, metrics_path)
    digest = hashlib.sha256(metrics_path.read_bytes() + layout_path.read_bytes() + repr(weights.shape).encode())
    dataset, grid = _DATASETS[published[0]]
    return SmallCnnTables(
        folder=folder,
        metrics=metrics,
        layout=layout,
        published_dataset=published[0],
        dataset=dataset,
        grid=grid,
        sha256=digest.hexdigest(),
    )


def _one_of(metrics: pa.Table, column: str, known: tuple[str, ...], path: Path) -> list[str]:
    """The values of a column, all of which must be known."""
    found: list[str] = sorted(metrics[column].unique().to_pylist())
    for value in found:
        if value not in known:
            row = metrics[column].to_pylist().index(value)
            raise ZoovetError(f"{path}: {column} is {value!r} in row {row}, which is unknown{nearest(value, known)}")
    return found


def bases_of(keys: Sequence[str]) -> NDArray[np.int64]:
    """Number equal keys alike, in the order in which they come: int64 [N]."""
    encoded = pa.array(keys, pa.string()).dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(), dtype=np.int64)


def draw_splits(bases: NDArray[np.int64], shares: SplitShares, seed: int) -> list[str]:
    """The split of every row [N], drawn by base."""
    of_bases = shares.of_bases(int(bases.max()) + 1, np.random.default_rng(seed))
    return [of_bases[base] for base in bases]


def facts_of(
    tables: SmallCnnTables, network_ids: list[str], bases: NDArray[np.int64], splits: list[str], **more: Any
) -> pa.Table:
    """Every column of our format but the weights.

    Args:
        tables: The published ones.
        network_ids: [N].
        bases: int64 [N].
        splits: [N].
        more: Further columns by name, each [N].

    Raises:
        ZoovetError: Two rows are one network, or a column of integers has something else.
    """
    _require_unique(network_ids, tables)
    metrics = tables.metrics
    columns: dict[str, Any] = {
        "network_id": network_ids,
        "base_id": bases,
        "spec_id": metrics["config.activation"],
        "split": splits,
        "dataset": pa.repeat(tables.dataset, len(metrics)),
        "source": metrics["path"],
        **more,
    }
    columns.update({ours: metrics[theirs] for theirs, ours in {**_TEXTS, **_NUMBERS}.items()})
    for theirs, ours in _INTEGERS.items():
        columns[ours] = whole_numbers(metrics, theirs, tables.metrics_path)
    return pa.table(columns)


def _require_unique(network_ids: list[str], tables: SmallCnnTables) -> None:
    first: dict[str, int] = {}
    for row, network_id in enumerate(network_ids):
        if network_id in first:
            paths = tables.metrics["path"]
            raise ZoovetError(
                f"{tables.metrics_path}: rows {first[network_id]} and {row} are the same checkpoint of one network "
                f"({paths[first[network_id]]} and {paths[row]})"
            )
        first[network_id] = row


@dataclass(frozen=True, eq=False, kw_only=True)
class SmallCnnNetworks:
    """A :class:`zoovet.zoo.importers.published.PublishedZoo` of small CNNs.

    Attributes:
        graphs: Graphs by activation.
        recipe: What ``zoo.json`` keeps.
        remarks: What people should know.
        tables: The published tables.
        facts: Every column of our format but the weights.
    """

    graphs: dict[str, Graph]
    recipe: dict[str, Any]
    remarks: tuple[str, ...]
    tables: SmallCnnTables
    facts: pa.Table

    @property
    def num_networks(self) -> int:
        """Networks in it."""
        return len(self.facts)

    def rows(self, first: int, last: int) -> list[dict[str, Any]]:
        """The networks at places first … last - 1, their weights in our order.

        The file is mapped anew for each call, so that what was read does not stay in memory.
        """
        path = self.tables.folder / "weights.npy"
        weights = open_weights(path)[first:last][:, self.tables.layout.order]
        rows: list[dict[str, Any]] = self.facts.slice(first, last - first).to_pylist()
        bad = np.flatnonzero(~np.isfinite(weights).all(axis=1))
        if len(bad):
            raise ZoovetError(
                f"{path} has NaN or infinite numbers in row {first + bad[0]} ({rows[bad[0]]['source']}); remove "
                f"the row there and in metrics.csv.gz"
            )
        for row, flat in zip(rows, weights, strict=True):
            row["weights"] = flat
        return rows
