"""Modules that are made without numbers: what has shapes alone takes no memory and little time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["WithoutNumbers"]


class WithoutNumbers(TorchFunctionMode):
    """What modules keep room for has shapes and no numbers; what they calculate sizes with is calculated."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        own = dict(kwargs or {})
        if func is torch.empty and own.get("device") is None:
            own["device"] = "meta"
        return func(*args, **own)
