"""What predicting test accuracies from weights measured, network by network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zoovet.evaluation.results.compared import ComparedModel, check_models, models_from_json, models_to_json
from zoovet.evaluation.results.table import (
    Columns,
    FloatArray,
    IntArray,
    check_networks,
    check_numbers,
    network_columns,
    network_fields,
    read_table,
    write_table,
)

__all__ = ["GeneralizationResults"]

_COLUMNS = Columns(texts=("activations",), integers=("base_ids",), numbers=("accuracies",))
_KIND = "generalization"


@dataclass(frozen=True, eq=False, kw_only=True)
class GeneralizationResults:
    """Test accuracies of n networks, measured and as several models predict them.

    Attributes:
        dataset: Name of the image dataset.
        network_ids: [n] names of the networks, each once.
        base_ids: [n] int64, which training a network is a checkpoint of.
        activations: [n] activation of the hidden layers.
        accuracies: [n] test accuracy, in [0, 1].
        models: What predicts, the first one the one that the others are compared with.
        predictions: [n] predicted accuracies by the key of a model.

    Raises:
        ZoovetError: Lengths differ, a network or a model occurs twice, a number is NaN, or predictions are not those of
            the models.
    """

    dataset: str
    network_ids: tuple[str, ...]
    base_ids: IntArray
    activations: tuple[str, ...]
    accuracies: FloatArray
    models: tuple[ComparedModel, ...]
    predictions: Mapping[str, FloatArray]

    def __post_init__(self) -> None:
        check_networks(self, _COLUMNS)
        object.__setattr__(self, "models", check_models(self.models, self.predictions, "predictions"))
        checked = {
            model.key: check_numbers(f"predictions of {model.key}", self.predictions[model.key], self.network_ids)
            for model in self.models
        }
        object.__setattr__(self, "predictions", checked)

    def __len__(self) -> int:
        return len(self.network_ids)

    def save(self, path: Path) -> None:
        """Write one row a network as Parquet, atomically; columns ``predictions of KEY``."""
        columns = network_columns(self, _COLUMNS)
        columns |= {f"predictions of {key}": values for key, values in self.predictions.items()}
        write_table(path, columns, {"dataset": self.dataset, "models": models_to_json(self.models)}, _KIND)

    @classmethod
    def load(cls, path: Path) -> GeneralizationResults:
        """Read what :meth:`save` wrote.

        Raises:
            ZoovetError: It is missing, damaged, or something else.
        """
        columns, metadata = read_table(path, _KIND)
        models = models_from_json(metadata.pop("models"))
        predictions = {model.key: columns[f"predictions of {model.key}"] for model in models}
        return cls(**network_fields(columns, _COLUMNS), **metadata, models=models, predictions=predictions)
