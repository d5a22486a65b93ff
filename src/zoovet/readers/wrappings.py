"""From what ``torch.save`` stored to named tensors: where in its dictionaries and lists is the state dict?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.readers.content import FileContent

__all__ = ["HOW_TO_EXPORT", "unwrapped"]

HOW_TO_EXPORT = "save its state dict: torch.save(module.state_dict(), 'weights.pt')"

_WRAPPERS = ("state_dict", "model_state_dict", "net_state_dict", "model", "net", "network", "weights", "params")


def unwrapped(data: Any, source: str) -> FileContent:
    """The tensors and numbers of a state dict, also where it sits in another dictionary.

    Args:
        data: What a file holds, as loaded without running code of it.
        source: The file, for messages.

    Raises:
        ZoovetError: There is no state dict in it.
    """
    if not isinstance(data, Mapping):
        raise ZoovetError(
            f"{source} holds a {type(data).__name__}, expected is a dictionary of named tensors; {HOW_TO_EXPORT}"
        )
    for name in _WRAPPERS:
        if isinstance(data.get(name), Mapping):
            data = data[name]
            break
    tensors = {
        name: value.detach() for name, value in data.items() if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not tensors:
        found = ", ".join(map(repr, list(data)[:12])) or "nothing"
        raise ZoovetError(
            f"{source} has no named tensors; it is a dictionary of {found}. Expected is a state dict, or one under a "
            f"usual name ({', '.join(_WRAPPERS)}); {HOW_TO_EXPORT}"
        )
    numbers = {name: value for name, value in data.items() if isinstance(name, str) and isinstance(value, int | float)}
    return FileContent(tensors=tensors, numbers=numbers)
