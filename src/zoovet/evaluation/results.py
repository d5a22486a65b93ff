"""What an evaluation measured, network by network: the link between running it and reporting it.

Results are plain arrays with a Parquet form each, so that figures and pages can be made again without the zoo.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.files import atomic_path

__all__ = ["DetectionResults", "RepairResults"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_METADATA_KEY = b"zoovet"
_DETECTION_NUMBERS = ("asr", "scores")
_REPAIR_NUMBERS = (
    "clean_accuracy_before",
    "clean_accuracy_after",
    "asr_before",
    "asr_after",
    "ra_before",
    "ra_after",
)


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectionResults:
    """Scores of n networks by a detector and its rivals.

    Attributes:
        detector: Name of the detector, for people.
        network_ids: [n] names of the networks, each once.
        base_ids: [n] int64, which base a network descends from; siblings share it.
        activations: [n] activation of the hidden layers.
        poisoned: [n] bool, the labels.
        asr: [n] ASR of each network on its own trigger (a healthy one: on its sibling's).
        scores: [n] probability of a trojan that the detector gives.
        threshold: At or above it the detector flags a network; chosen on validation networks.
        rivals: Scores [n] of other detectors by name; StatNN's name is ``StatNN``.
        rival_thresholds: Their thresholds, chosen on validation networks.

    Raises:
        ZoovetError: Lengths differ, a network occurs twice, a number is NaN, or a rival lacks its threshold.
    """

    detector: str
    network_ids: tuple[str, ...]
    base_ids: IntArray
    activations: tuple[str, ...]
    poisoned: BoolArray
    asr: FloatArray
    scores: FloatArray
    threshold: float
    rivals: Mapping[str, FloatArray]
    rival_thresholds: Mapping[str, float]

    def __post_init__(self) -> None:
        _check_networks(self, _DETECTION_NUMBERS)
        if set(self.rivals) != set(self.rival_thresholds):
            raise ZoovetError(
                f"every rival needs scores and a threshold; got scores of {sorted(self.rivals)} and thresholds of "
                f"{sorted(self.rival_thresholds)}"
            )
        for name, scores in self.rivals.items():
            _check_numbers(f"scores of the rival {name}", scores, self.network_ids)
        object.__setattr__(self, "rivals", {name: _floats(scores) for name, scores in self.rivals.items()})

    def __len__(self) -> int:
        return len(self.network_ids)

    def save(self, path: Path) -> None:
        """Write one row a network as Parquet, atomically; columns ``scores`` and ``scores of NAME``."""
        columns = _network_columns(self, _DETECTION_NUMBERS)
        columns |= {f"scores of {name}": scores for name, scores in self.rivals.items()}
        metadata = {
            "detector": self.detector,
            "threshold": self.threshold,
            "rival_thresholds": dict(self.rival_thresholds),
        }
        _write(path, columns, metadata, "detection")

    @classmethod
    def load(cls, path: Path) -> DetectionResults:
        """Read what :meth:`save` wrote.

        Raises:
            ZoovetError: It is missing, damaged, or something else.
        """
        columns, metadata = _read(path, "detection")
        rivals = {name: columns[f"scores of {name}"] for name in metadata["rival_thresholds"]}
        return cls(**_network_fields(columns, _DETECTION_NUMBERS), **metadata, rivals=rivals)


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
        _check_networks(self, _REPAIR_NUMBERS)
        object.__setattr__(self, "layer_names", tuple(self.layer_names))
        object.__setattr__(self, "relative_changes", _floats(self.relative_changes))
        object.__setattr__(self, "channel_changes", tuple(_floats(change) for change in self.channel_changes))
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
        columns = _network_columns(self, _REPAIR_NUMBERS)
        columns["relative_changes"] = list(self.relative_changes)
        columns |= {f"channel_changes_{layer}": list(change) for layer, change in enumerate(self.channel_changes)}
        metadata = {
            "repairer": self.repairer,
            "layer_names": list(self.layer_names),
            "num_images": self.num_images,
            "seconds_per_network": self.seconds_per_network,
        }
        _write(path, columns, metadata, "repair")

    @classmethod
    def load(cls, path: Path) -> RepairResults:
        """Read what :meth:`save` wrote.

        Raises:
            ZoovetError: It is missing, damaged, or something else.
        """
        columns, metadata = _read(path, "repair")
        layers = range(len(metadata["layer_names"]))
        changes = tuple(_matrix(columns[f"channel_changes_{layer}"]) for layer in layers)
        return cls(
            **_network_fields(columns, _REPAIR_NUMBERS),
            **metadata,
            relative_changes=_matrix(columns["relative_changes"]),
            channel_changes=changes,
        )


def _check_networks(results: Any, numbers: Sequence[str]) -> None:
    """Check and normalise the fields that both kinds of results share, and the [n] numbers named."""
    set_field = object.__setattr__
    set_field(results, "network_ids", tuple(str(name) for name in results.network_ids))
    set_field(results, "activations", tuple(str(name) for name in results.activations))
    set_field(results, "base_ids", np.asarray(results.base_ids, dtype=np.int64))
    set_field(results, "poisoned", np.asarray(results.poisoned, dtype=bool))
    ids = results.network_ids
    if not ids:
        raise ZoovetError("results need at least one network, got none")
    if len(set(ids)) < len(ids):
        twice = next(name for position, name in enumerate(ids) if name in ids[:position])
        raise ZoovetError(f"the network {twice!r} occurs twice in the results")
    for name in ("activations", "base_ids", "poisoned"):
        if len(getattr(results, name)) != len(ids):
            raise ZoovetError(f"{name} must have one entry a network ({len(ids)}), got {len(getattr(results, name))}")
    for name in numbers:
        _check_numbers(name, getattr(results, name), ids)
        set_field(results, name, _floats(getattr(results, name)))


def _check_numbers(name: str, values: Any, ids: Sequence[str]) -> None:
    array = _floats(values)
    if array.shape != (len(ids),):
        raise ZoovetError(f"{name} must have one entry a network ({len(ids)}), got the shape {array.shape}")
    if np.isnan(array).any():
        raise ZoovetError(f"{name} of the network {ids[int(np.argmax(np.isnan(array)))]!r} is NaN")


def _floats(values: Any) -> FloatArray:
    return np.asarray(values, dtype=np.float64)


def _network_columns(results: Any, numbers: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(results, name) for name in ("network_ids", "base_ids", "activations", "poisoned", *numbers)}


def _network_fields(columns: Mapping[str, Any], numbers: Sequence[str]) -> dict[str, Any]:
    return {name: columns[name] for name in ("network_ids", "base_ids", "activations", "poisoned", *numbers)}


def _matrix(rows: Sequence[Sequence[float]]) -> FloatArray:
    return np.array([np.asarray(row, dtype=np.float64) for row in rows])


def _write(path: Path, columns: Mapping[str, Any], metadata: Mapping[str, Any], kind: str) -> None:
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    content = json.dumps({"kind": kind, **metadata})
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata({_METADATA_KEY: content.encode()}), temporary)


def _read(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise ZoovetError(f"there are no {kind} results at {path}; `zoovet evaluate` writes them") from None
    except (OSError, pa.ArrowException) as error:
        raise ZoovetError(f"the {kind} results {path} cannot be read: {error}") from error
    metadata = json.loads((table.schema.metadata or {}).get(_METADATA_KEY, b"{}"))
    found = metadata.pop("kind", None)
    if found != kind:
        raise ZoovetError(f"{path} holds no {kind} results of zoovet, but {found or 'some other table'}")
    return {name: table.column(name).to_pylist() for name in table.column_names}, metadata
