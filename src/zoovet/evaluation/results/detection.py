"""What detection measured, network by network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.evaluation.results.table import (
    BoolArray,
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

__all__ = ["DetectionResults"]

_COLUMNS = Columns(
    texts=("activations",), integers=("base_ids",), flags=("poisoned",), numbers=("scores",), gaps=("asr",)
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
        asr: [n] ASR of each network on its own trigger (a healthy one: on its sibling's); NaN where nobody knows it.
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
        check_networks(self, _COLUMNS)
        if set(self.rivals) != set(self.rival_thresholds):
            raise ZoovetError(
                f"every rival needs scores and a threshold; got scores of {sorted(self.rivals)} and thresholds of "
                f"{sorted(self.rival_thresholds)}"
            )
        rivals = {
            name: check_numbers(f"scores of the rival {name}", scores, self.network_ids)
            for name, scores in self.rivals.items()
        }
        object.__setattr__(self, "rivals", rivals)

    def __len__(self) -> int:
        return len(self.network_ids)

    def save(self, path: Path) -> None:
        """Write one row a network as Parquet, atomically; columns ``scores`` and ``scores of NAME``."""
        columns = network_columns(self, _COLUMNS)
        columns |= {f"scores of {name}": scores for name, scores in self.rivals.items()}
        metadata = {
            "detector": self.detector,
            "threshold": self.threshold,
            "rival_thresholds": dict(self.rival_thresholds),
        }
        write_table(path, columns, metadata, "detection")

    @classmethod
    def load(cls, path: Path) -> DetectionResults:
        """Read what :meth:`save` wrote.

        Raises:
            ZoovetError: It is missing, damaged, or something else.
        """
        columns, metadata = read_table(path, "detection")
        rivals = {name: columns[f"scores of {name}"] for name in metadata["rival_thresholds"]}
        return cls(**network_fields(columns, _COLUMNS), **metadata, rivals=rivals)
