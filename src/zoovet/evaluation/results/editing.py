"""What editing the pictures of INRs by their weights measured, network by network."""

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

__all__ = ["EditingResults"]

_COLUMNS = Columns(integers=("base_ids",), numbers=("mse_of_nothing",))
_KIND = "editing"


@dataclass(frozen=True, eq=False, kw_only=True)
class EditingResults:
    """How far the pictures of n INRs are from their edited source images, left alone and edited by several editors.

    Pixels are in [0, 1]; an error is the mean over a picture's pixels and channels.

    Attributes:
        dataset: Name of the image dataset.
        edit: What was asked for: ``dilation``, ``contrast``.
        network_ids: [n] names of the networks, each once.
        base_ids: [n] int64, which image a network is of; augmented copies share it.
        models: The editors, the first one the one that the others are compared with.
        mse: [n] mean squared error of the edited INR's picture against the edited source image, by the key of a model.
        mse_of_nothing: [n] the same error of the INR as it is.

    Raises:
        ZoovetError: Lengths differ, a network or a model occurs twice, an error is NaN, or errors are not those of the
            models.
    """

    dataset: str
    edit: str
    network_ids: tuple[str, ...]
    base_ids: IntArray
    models: tuple[ComparedModel, ...]
    mse: Mapping[str, FloatArray]
    mse_of_nothing: FloatArray

    def __post_init__(self) -> None:
        check_networks(self, _COLUMNS)
        object.__setattr__(self, "models", check_models(self.models, self.mse, "errors"))
        checked = {
            model.key: check_numbers(f"mse of {model.key}", self.mse[model.key], self.network_ids)
            for model in self.models
        }
        object.__setattr__(self, "mse", checked)

    def __len__(self) -> int:
        return len(self.network_ids)

    def save(self, path: Path) -> None:
        """Write one row a network as Parquet, atomically; columns ``mse of KEY``."""
        columns = network_columns(self, _COLUMNS) | {f"mse of {key}": values for key, values in self.mse.items()}
        metadata = {"dataset": self.dataset, "edit": self.edit, "models": models_to_json(self.models)}
        write_table(path, columns, metadata, _KIND)

    @classmethod
    def load(cls, path: Path) -> EditingResults:
        """Read what :meth:`save` wrote.

        Raises:
            ZoovetError: It is missing, damaged, or something else.
        """
        columns, metadata = read_table(path, _KIND)
        models = models_from_json(metadata.pop("models"))
        mse = {model.key: columns[f"mse of {model.key}"] for model in models}
        return cls(**network_fields(columns, _COLUMNS), **metadata, models=models, mse=mse)
