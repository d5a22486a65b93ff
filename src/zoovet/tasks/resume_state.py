"""The state that an unfinished run is resumed from, checked before anything is made of it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from zoovet.errors import ZoovetError
from zoovet.readers.opening import load_file

__all__ = ["checked_state"]

_PARTS = ("callbacks", "loops", "state_dict")


def checked_state(path: Path) -> dict[str, Any]:
    """The state in a file that Lightning wrote, read without running code.

    It is read in a confined process first: a file that hangs, crashes or takes all memory does so there.

    Raises:
        ZoovetError: It is damaged, or something else.
    """
    try:
        load_file(path)
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not all(isinstance(state[part], dict) for part in _PARTS):
            raise TypeError("a part is no dictionary")
        if not all(isinstance(callback, dict) for callback in state["callbacks"].values()):
            raise TypeError("a callback's state is no dictionary")
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        pickle.UnpicklingError,
    ) as error:
        raise ZoovetError(
            f"the state of the unfinished run, {path}, cannot be read; remove that file to begin the run again"
        ) from error
    return state
