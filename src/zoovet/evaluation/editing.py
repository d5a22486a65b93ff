"""Editing INRs that no editor has seen, and measuring their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evaluation.results import ComparedModel, EditingResults
from zoovet.evaluation.split_pass import by_place, require_networks
from zoovet.evaluation.zoo_summary import dataset_name
from zoovet.networks import Networks
from zoovet.zoo import Zoo
from zoovet.zoo.inr_pictures import pictures

__all__ = ["NetworkEditor", "evaluate_editing", "mean_squared_errors"]


class NetworkEditor(Protocol):
    """What can be evaluated as an editor of INRs."""

    def edit(self, networks: Networks) -> Networks:
        """Edited networks of the same graph, in the same order, from weights alone."""


def evaluate_editing(
    editors: Mapping[str, NetworkEditor],
    models: Sequence[ComparedModel],
    zoo: Zoo,
    targets: Tensor,
    *,
    edit: str,
) -> EditingResults:
    """Edit every INR of a zoo by several editors, and compare its picture with the edited source image.

    Args:
        editors: Fitted, by the key of the model.
        models: What each is called and what it cost, in the order of the comparison.
        zoo: INRs held out from the training of all of them: ``zoo.split("test")``.
        targets: float32 [n, C, H, W] in [0, 1], the edited source image of every network.
        edit: What the edit is called.

    Raises:
        ZoovetError: The zoo is empty, targets are not one a network or have other channels than the pictures, or
            an editor made weights NaN or infinite.
    """
    require_networks(zoo, "editing")
    if len(targets) != len(zoo):
        raise ZoovetError(f"every network needs its target: {len(zoo)} networks, got {len(targets)} targets")
    nothing = by_place(zoo, lambda networks, places: mean_squared_errors(networks, targets[places]))
    return EditingResults(
        dataset=dataset_name(zoo),
        edit=edit,
        network_ids=tuple(zoo.column("network_id")),
        base_ids=zoo.column("base_id"),
        models=tuple(models),
        mse={key: _errors(key, editor, zoo, targets) for key, editor in editors.items()},
        mse_of_nothing=nothing.double().numpy(),
    )


def _errors(key: str, editor: NetworkEditor, zoo: Zoo, targets: Tensor) -> NDArray[np.float64]:
    """[n] error of every edited network's picture."""
    errors = by_place(zoo, lambda networks, places: mean_squared_errors(editor.edit(networks), targets[places]))
    broken = ~torch.isfinite(errors)
    if broken.any():
        first = zoo.column("network_id")[int(torch.argmax(broken.int()))]
        raise ZoovetError(f"{key} made the picture of the network {first!r} of {zoo.path} NaN or infinite")
    values: NDArray[np.float64] = errors.double().numpy()
    return values


def mean_squared_errors(networks: Networks, targets: Tensor) -> Tensor:
    """Mean squared error of each INR's picture against its target [B, C, H, W]: [B].

    Raises:
        ZoovetError: The pictures have other channels than the targets.
    """
    shown = pictures(networks, *targets.shape[2:])
    if shown.shape != targets.shape:
        raise ZoovetError(
            f"the INRs show pictures of {shown.shape[1]} channels, but the images have {targets.shape[1]}; they are "
            f"of another dataset"
        )
    return (shown - targets).square().flatten(1).mean(dim=1)
