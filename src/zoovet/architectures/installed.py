"""Which networks of an installed library have the names and shapes of a state dict."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from zoovet.architectures.family import Shapes

__all__ = ["WithoutNumbers", "installed_matches"]

_COUNTER = "num_batches_tracked"


def installed_matches(shapes: Shapes) -> list[str] | None:
    """Names, as ``--architecture`` takes them, of torchvision's classifiers with these tensors, whatever its classes.

    Args:
        shapes: Of a state dict.

    Returns:
        ``None`` where torchvision is not installed. Elsewhere the first call takes seconds: all of its networks are
        made, without numbers.
    """
    known = _torchvision()
    if known is None:
        return None
    own = {name: shape for name, shape in shapes.items() if not name.endswith(_COUNTER)}
    return [f"torchvision:{name}" for name, theirs in known.items() if _fits(own, theirs)]


class WithoutNumbers(TorchFunctionMode):
    """What modules keep room for has shapes and no numbers; what they calculate sizes with is calculated."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        own = dict(kwargs or {})
        if func is torch.empty and own.get("device") is None:
            own["device"] = "meta"
        return func(*args, **own)


@cache
def _torchvision() -> Mapping[str, Mapping[str, tuple[int, ...]]] | None:
    """Name of a network → its tensors' shapes; ``None`` where there is no torchvision."""
    try:
        models: Any = importlib.import_module("torchvision.models")
        names = models.list_models(models)
    except (ImportError, AttributeError, RuntimeError):  # as where it is of another version than torch
        return None
    table = {}
    for name in names:
        with WithoutNumbers(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torchvision's about its coming versions
            state = models.get_model(name, weights=None).state_dict()
        table[name] = {key: tuple(one.shape) for key, one in state.items() if not key.endswith(_COUNTER)}
    return MappingProxyType(table)


def _fits(own: Shapes, theirs: Shapes) -> bool:
    """Whether names and shapes are the same, but for the number of classes."""
    if own.keys() != theirs.keys():
        return False
    others = {(shape[:1], theirs[name][:1]) for name, shape in own.items() if shape != theirs[name]}
    same_behind = all(shape[1:] == theirs[name][1:] for name, shape in own.items())
    return same_behind and len(others) <= 1
