"""What repair measured, network by network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoovet.errors import ZoovetError
from zoovet.evaluation.results.table import (
    BoolArray,
    Columns,
    FloatArray,
    IntArray,
    check_networks,
    floats,
    network_columns,
    network_fields,
    read_table,
    write_table,
)

__all__ = ["RepairResults"]

_COLUMNS = Columns(
    texts=("activations",),
    integers=("base_ids",),
    flags=("poisoned",),
    numbers=(
        "clean_accuracy_before",
        "clean_accuracy_after",
        "asr_before",
        "asr_after",
        "ra_before",
        "ra_after",
    ),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class RepairResults:
    """n networks before and after repair.

    Attributes:
        repairer: Name of the repairer, for people.
        network_ids: [n] names of the networks, each once.
        base_ids: [n] int64, which base a network descends from; siblings share it.
        activations: [n] activation of the hidden layers.
        poisoned: [n] bool, whether it is trojaned.
        clean_accuracy_before, clean_accuracy_after: [n] accuracy on clean test images.
        asr_before, asr_after: [n] ASR on the network's own trigger (a healthy network: on its sibling's).
        ra_before, ra_after: [n] RA on the same images.
        layer_names: [L] names of the layers, for people.
        relative_changes: [n, L] norm of the change of a layer's weight and bias over their norm before; NaN where a
            network has no such layer.
        channel_changes: L arrays [n, C]: norm of the change of what one output channel reads (its weights and bias)
            over the norm of the whole layer before; NaN where a network has no such channel.
        num_images: Number of clean test images that every figure was measured on.
        seconds_per_network: Wall time of repairing, images not included, over n.

    Raises:
        ZoovetError: Lengths differ, a network occurs twice, or a figure is NaN.
    """

    repairer: str
    network_ids: tuple[str, ...]
    base_ids: IntArray
    activations: tuple[str, ...]
    poisoned: BoolArray
    clean_accuracy_before: FloatArray
    clean_accuracy_after: FloatArray
    asr_before: FloatArray
    asr_after: FloatArray
    ra_before: FloatArray
    ra_after: FloatArray
    layer_names: tuple[str, ...]
    relative_changes: FloatArray
    channel_changes: tuple[FloatArray, ...]
    num_images: int
    seconds_per_network: float

    def __post_init__(self) -> None:
        check_networks(self, _COLUMNS)
        object.__setattr__(self, "layer_names", tuple(self.layer_names))
        object.__setattr__(self, "relative_changes", floats(self.relative_changes))
        object.__setattr__(self, "channel_changes", tuple(floats(change) for change in self.channel_changes))
        expected = (len(self), len(self.layer_names))
        if self.relative_changes.shape != expected:
            raise ZoovetError(f"relative_changes must have the shape {expected}, got {self.relative_changes.shape}")
        if len(self.channel_changes) != expected[1] or any(
            len(change) != expected[0] for change in self.channel_changes
        ):
            raise ZoovetError(
                f"channel_changes must be {expected[1]} arrays (one a layer) of {expected[0]} rows, got shapes "
                f"{[change.shape for change in self.channel_changes]}"
            )

    def __len__(self) -> int:
        return len(self.network_ids)

    def save(self, path: Path) -> None:
        """Write one row a network as Parquet, atomically; changes are lists, one entry a layer or channel."""
        columns = network_columns(self, _COLUMNS)
        columns["relative_changes"] = list(self.relative_changes)
        columns |= {f"channel_changes_{layer}": list(change) for layer, change in enumerate(self.channel_changes)}
        metadata = {
            "repairer": self.repairer,
            "layer_names": list(self.layer_names),
            "num_images": self.num_images,
            "seconds_per_network": self.seconds_per_network,
        }
        write_table(path, columns, metadata, "repair")

    @classmethod
    def load(cls, path: Path) -> RepairResults:
        """Read what :meth:`save` wrote.

        Raises:
            ZoovetError: It is missing, damaged, or something else.
        """
        columns, metadata = read_table(path, "repair")
        layers = range(len(metadata["layer_names"]))
        changes = tuple(_matrix(columns[f"channel_changes_{layer}"]) for layer in layers)
        return cls(
            **network_fields(columns, _COLUMNS),
            **metadata,
            relative_changes=_matrix(columns["relative_changes"]),
            channel_changes=changes,
        )


def _matrix(rows: Sequence[Sequence[float]]) -> FloatArray:
    return np.array([np.asarray(row, dtype=np.float64) for row in rows])
