"""Which networks of an installed library have the names and shapes of a state dict."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import torch

from zoovet.architectures.family import Shapes

__all__ = ["installed_matches"]

_COUNTER = "num_batches_tracked"


def installed_matches(shapes: Shapes) -> list[str]:
    """Names, as ``--architecture`` takes them, of torchvision's classifiers with these tensors, whatever its classes.

    Args:
        shapes: Of a state dict.

    Returns:
        None where torchvision is not installed. Elsewhere the first call takes seconds: all of its networks are made,
        without numbers.
    """
    own = {name: shape for name, shape in shapes.items() if not name.endswith(_COUNTER)}
    return [f"torchvision:{name}" for name, theirs in _torchvision().items() if _fits(own, theirs)]


@cache
def _torchvision() -> Mapping[str, Mapping[str, tuple[int, ...]]]:
    """Name of a network → its tensors' shapes; those that cannot be made without numbers are left out."""
    try:
        models: Any = importlib.import_module("torchvision.models")
        names = models.list_models(models)
    except (ImportError, AttributeError, RuntimeError):  # as where it is of another version than torch
        return MappingProxyType({})
    table = {}
    for name in names:
        try:
            with torch.device("meta"):
                state = models.get_model(name, weights=None).state_dict()
        except (NotImplementedError, RuntimeError, TypeError, ValueError):  # it needs numbers: left out
            continue
        table[name] = {key: tuple(one.shape) for key, one in state.items() if not key.endswith(_COUNTER)}
    return MappingProxyType(table)


def _fits(own: Shapes, theirs: Shapes) -> bool:
    """Whether names and shapes are the same, but for the number of classes."""
    if own.keys() != theirs.keys():
        return False
    others = {(shape[:1], theirs[name][:1]) for name, shape in own.items() if shape != theirs[name]}
    same_behind = all(shape[1:] == theirs[name][1:] for name, shape in own.items())
    return same_behind and len(others) <= 1
