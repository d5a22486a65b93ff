"""What a zoo holds, as the report shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.zoo import Zoo

__all__ = ["ZooSummary", "summarize_zoo"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ZooSummary:
    """The n networks of a zoo in the figures that its rows hold.

    Attributes:
        dataset: Name of the image dataset.
        descriptions: One line a spec, for people.
        min_asr: ASR from which the recipe calls a network trojaned.
        base_ids: [n] int64.
        activations: [n] activation of the hidden layers.
        splits: [n] ``train``, ``validation`` or ``test``.
        poisoned: [n] bool.
        trigger_kinds: [n] kind of the trigger of the network or its sibling; empty where there is none.
        clean_accuracy: [n] accuracy on clean test images.
        asr: [n] ASR (a healthy network's: on its sibling's trigger); NaN where there is no trigger.
        ra: [n] RA on the same images; NaN where there is no trigger.
    """

    dataset: str
    descriptions: tuple[str, ...]
    min_asr: float
    base_ids: NDArray[np.int64]
    activations: NDArray[np.str_]
    splits: NDArray[np.str_]
    poisoned: NDArray[np.bool_]
    trigger_kinds: NDArray[np.str_]
    clean_accuracy: NDArray[np.float64]
    asr: NDArray[np.float64]
    ra: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("activations", "splits", "poisoned", "trigger_kinds", "clean_accuracy", "asr", "ra"):
            if len(getattr(self, name)) != len(self.base_ids):
                raise ZoovetError(
                    f"{name} must have one entry a network ({len(self.base_ids)}), got {len(getattr(self, name))}"
                )

    def __len__(self) -> int:
        return len(self.base_ids)


def summarize_zoo(zoo: Zoo) -> ZooSummary:
    """Summarize all networks of a zoo (every split).

    Raises:
        ZoovetError: The zoo's recipe does not name its dataset.
    """
    if "dataset" not in zoo.recipe:
        raise ZoovetError(f"the recipe of the zoo {zoo.path} does not name its dataset")
    triggers = [zoo.trigger(place) for place in range(len(zoo))]
    return ZooSummary(
        dataset=str(zoo.recipe["dataset"]),
        descriptions=tuple(spec.describe() for spec in zoo.specs.values()),
        min_asr=float(zoo.recipe.get("min_asr", 0.0)),
        base_ids=zoo.column("base_id"),
        activations=zoo.column("activation").astype(str),
        splits=zoo.column("split").astype(str),
        poisoned=zoo.column("poisoned"),
        trigger_kinds=np.array([trigger.kind if trigger else "" for trigger in triggers], dtype=str),
        clean_accuracy=zoo.column("clean_accuracy"),
        asr=zoo.column("asr"),
        ra=zoo.column("ra"),
    )
