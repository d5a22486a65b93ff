"""What a zoo holds, as the report shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.zoo import Zoo

__all__ = [
    "AccuracyZooSummary",
    "InrZooSummary",
    "Reconstruction",
    "TrojanZooSummary",
    "ZooSummary",
    "activation_names",
    "dataset_name",
    "summarize_zoo",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class TrojanZooSummary:
    """The n networks of a zoo of healthy and trojaned networks in the figures that its rows hold.

    Attributes:
        dataset: Name of the image dataset.
        descriptions: One line a graph, for people.
        min_asr: ASR from which the recipe calls a network trojaned.
        base_ids: [n] int64.
        activations: [n] activation of the hidden layers.
        splits: [n] ``train``, ``validation`` or ``test``.
        poisoned: [n] bool.
        trigger_kinds: [n] kind of the trigger of the network or its sibling; empty where there is none.
        clean_accuracy: [n] accuracy on clean test images; NaN where nobody knows it.
        asr: [n] ASR (a healthy network's: on its sibling's trigger); NaN where there is no trigger.
        ra: [n] RA on the same images; NaN where there is no trigger.
        kind: Of the zoo's recipe: ``trojan``, ``park`` or ``imported``; how its networks were made.
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
    kind: str = "trojan"

    def __post_init__(self) -> None:
        _check(self, ("activations", "splits", "poisoned", "trigger_kinds", "clean_accuracy", "asr", "ra"))

    def __len__(self) -> int:
        return len(self.base_ids)


@dataclass(frozen=True, eq=False, kw_only=True)
class Reconstruction:
    """An INR's picture and the image it was made from.

    Attributes:
        network_id: Which INR.
        label: The image's class, for people.
        psnr: In dB; NaN where the zoo does not know it.
        image: uint8 [C, H, W].
        picture: uint8 [C, H, W], cut to [0, 255].
    """

    network_id: str
    label: str
    psnr: float
    image: NDArray[np.uint8]
    picture: NDArray[np.uint8]


@dataclass(frozen=True, eq=False, kw_only=True)
class InrZooSummary:
    """The n INRs of a zoo.

    Attributes:
        dataset: Name of the image dataset.
        descriptions: One line a graph, for people.
        base_ids: [n] int64, which image.
        splits: [n] ``train``, ``validation`` or ``test``.
        psnr: [n] in dB; NaN where it was not measured.
        reconstructions: Some of them beside their images.
    """

    dataset: str
    descriptions: tuple[str, ...]
    base_ids: NDArray[np.int64]
    splits: NDArray[np.str_]
    psnr: NDArray[np.float64]
    reconstructions: tuple[Reconstruction, ...] = ()

    def __post_init__(self) -> None:
        _check(self, ("splits", "psnr"))

    def __len__(self) -> int:
        return len(self.base_ids)


@dataclass(frozen=True, eq=False, kw_only=True)
class AccuracyZooSummary:
    """The n networks of a zoo of trainings with their checkpoints.

    Attributes:
        dataset: Name of the image dataset.
        descriptions: One line a graph, for people.
        base_ids: [n] int64, which training.
        activations: [n] activation of the hidden layers.
        splits: [n] ``train``, ``validation`` or ``test``.
        steps: [n] optimizer steps, or the checkpoint's number; −1 where it is not known.
        clean_accuracy: [n] test accuracy.
    """

    dataset: str
    descriptions: tuple[str, ...]
    base_ids: NDArray[np.int64]
    activations: NDArray[np.str_]
    splits: NDArray[np.str_]
    steps: NDArray[np.int64]
    clean_accuracy: NDArray[np.float64]

    def __post_init__(self) -> None:
        _check(self, ("activations", "splits", "steps", "clean_accuracy"))

    def __len__(self) -> int:
        return len(self.base_ids)


ZooSummary = TrojanZooSummary | InrZooSummary | AccuracyZooSummary


def summarize_zoo(zoo: Zoo, reconstructions: Sequence[Reconstruction] = ()) -> ZooSummary:
    """Summarize all networks of a zoo (every split), by what its rows tell.

    Args:
        zoo: The zoo.
        reconstructions: Pictures to show, where its networks are INRs.

    Raises:
        ZoovetError: The zoo does not name its dataset.
    """
    common: dict[str, Any] = {
        "dataset": dataset_name(zoo),
        "descriptions": tuple(graph.describe() for graph in zoo.graphs.values()),
        "base_ids": zoo.column("base_id"),
        "splits": zoo.column("split").astype(str),
    }
    if all(graph.input_shape == (2,) for graph in zoo.graphs.values()):
        return InrZooSummary(**common, psnr=zoo.column("psnr"), reconstructions=tuple(reconstructions))
    common |= {"activations": np.array(activation_names(zoo)), "clean_accuracy": zoo.column("clean_accuracy")}
    if "min_asr" not in zoo.recipe:
        return AccuracyZooSummary(**common, steps=zoo.column("step"))
    triggers = [zoo.trigger(place) for place in range(len(zoo))]
    return TrojanZooSummary(
        **common,
        min_asr=float(zoo.recipe["min_asr"]),
        kind=str(zoo.recipe.get("kind", "trojan")),
        poisoned=zoo.column("poisoned"),
        trigger_kinds=np.array([trigger.kind if trigger else "" for trigger in triggers], dtype=str),
        asr=zoo.column("asr"),
        ra=zoo.column("ra"),
    )


def activation_names(zoo: Zoo) -> tuple[str, ...]:
    """Activation of each network's hidden layers; ``unknown`` where nobody said it."""
    return tuple("unknown" if name is None else str(name) for name in zoo.column("activation"))


def dataset_name(zoo: Zoo) -> str:
    """The image dataset that a zoo's rows name, or else its recipe.

    Raises:
        ZoovetError: Neither does.
    """
    named = sorted({str(name) for name in zoo.column("dataset") if name is not None})
    if named:
        return " and ".join(named)
    if "dataset" not in zoo.recipe:
        raise ZoovetError(f"neither the rows nor the recipe of the zoo {zoo.path} name its dataset")
    return str(zoo.recipe["dataset"])


def _check(summary: Any, columns: Sequence[str]) -> None:
    for name in columns:
        if len(getattr(summary, name)) != len(summary.base_ids):
            raise ZoovetError(
                f"{name} must have one entry a network ({len(summary.base_ids)}), got {len(getattr(summary, name))}"
            )
