"""What classifying INRs by their weights measured, network by network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoovet.evaluation.results.compared import ComparedModel, check_models, models_from_json, models_to_json
from zoovet.evaluation.results.table import (
    Columns,
    FloatArray,
    IntArray,
    check_integers,
    check_networks,
    network_columns,
    network_fields,
    read_table,
    write_table,
)

__all__ = ["ClassificationResults"]

_COLUMNS = Columns(integers=("base_ids", "labels"))
_KIND = "classification"


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassificationResults:
    """Classes of n INRs, true and as several classifiers see them.

    Attributes:
        dataset: Name of the image dataset.
        network_ids: [n] names of the networks, each once.
        base_ids: [n] int64, which image a network is of; augmented copies share it.
        labels: [n] int64, the image's class.
        class_names: [C] names of the classes, in order.
        models: The classifiers, the first one the one that the others are compared with.
        predictions: [n] int64 classes by the key of a model.

    Raises:
        ZoovetError: Lengths differ, a network or a model occurs twice, a class is none of ``class_names``, or
            predictions are not those of the models.
    """

    dataset: str
    network_ids: tuple[str, ...]
    base_ids: IntArray
    labels: IntArray
    class_names: tuple[str, ...]
    models: tuple[ComparedModel, ...]
    predictions: Mapping[str, IntArray]

    def __post_init__(self) -> None:
        check_networks(self, _COLUMNS)
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "models", check_models(self.models, self.predictions, "predictions"))
        num_classes = len(self.class_names)
        check_integers("labels", self.labels, self.network_ids, below=num_classes)
        checked = {
            model.key: check_integers(
                f"predictions of {model.key}", self.predictions[model.key], self.network_ids, below=num_classes
            )
            for model in self.models
        }
        object.__setattr__(self, "predictions", checked)

    def __len__(self) -> int:
        return len(self.network_ids)

    def correct(self, key: str) -> FloatArray:
        """[n] 1 where a model's prediction is the label, else 0."""
        right: FloatArray = (self.predictions[key] == self.labels).astype(np.float64)
        return right

    def confusion(self, key: str) -> IntArray:
        """[C, C] number of networks by label (row) and a model's prediction (column)."""
        num_classes = len(self.class_names)
        counts = np.bincount(self.labels * num_classes + self.predictions[key], minlength=num_classes**2)
        return counts.reshape(num_classes, num_classes).astype(np.int64)

    def save(self, path: Path) -> None:
        """Write one row a network as Parquet, atomically; columns ``predictions of KEY``."""
        columns = network_columns(self, _COLUMNS)
        columns |= {f"predictions of {key}": values for key, values in self.predictions.items()}
        metadata = {
            "dataset": self.dataset,
            "class_names": list(self.class_names),
            "models": models_to_json(self.models),
        }
        write_table(path, columns, metadata, _KIND)

    @classmethod
    def load(cls, path: Path) -> ClassificationResults:
        """Read what :meth:`save` wrote.

        Raises:
            ZoovetError: It is missing, damaged, or something else.
        """
        columns, metadata = read_table(path, _KIND)
        models = models_from_json(metadata.pop("models"))
        predictions = {model.key: columns[f"predictions of {model.key}"] for model in models}
        return cls(**network_fields(columns, _COLUMNS), **metadata, models=models, predictions=predictions)
