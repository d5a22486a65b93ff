"""What a repository's ``config.json`` says of its network, where that is simple."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.fetching.weight_files import Hint
from zoovet.json_files import read_json_object
from zoovet.printable import printable

__all__ = ["hint_of_config"]

_MAX_NAME = 100


def hint_of_config(path: Path) -> Hint:
    """What timm's ``config.json`` says: the architecture, the input scaling, the size of images.

    Args:
        path: The file; it may say anything.
    """
    try:
        config = read_json_object(path)
    except ZoovetError as error:
        return Hint(notes=(f"config.json is not used: {printable(error, 300)}",))
    name = config.get("architecture")
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        kinds = config.get("architectures")
        said = ", ".join(printable(kind, 60) for kind in kinds[:3]) if isinstance(kinds, list) else ""
        note = f"config.json says {said}, which nothing follows from; --architecture says what to read it as"
        return Hint(notes=(note,) if said else ())
    settings = config.get("pretrained_cfg")
    hint, shown = _hint(name, settings if isinstance(settings, dict) else config), printable(name)
    if importlib.util.find_spec("timm") is None:
        note = f"config.json says timm's {shown}: pip install timm, and it is read as that"
        return replace(hint, architecture=None, notes=(note,))
    return replace(hint, notes=(f"read as timm's {shown}, as its config.json says",))


def _hint(name: str, settings: Mapping[str, Any]) -> Hint:
    mean, deviation = _numbers(settings.get("mean")), _numbers(settings.get("std"))
    size = _numbers(settings.get("input_size"))
    shape = None
    if size is not None and len(size) == 3 and all(number.is_integer() and 0 < number < 2**16 for number in size):
        shape = (int(size[0]), int(size[1]), int(size[2]))
    has_scaling = mean is not None and deviation is not None
    return Hint(
        architecture=f"timm:{name}",
        mean=mean if has_scaling else None,
        deviation=deviation if has_scaling else None,
        input_shape=shape,
    )


def _numbers(value: Any) -> tuple[float, ...] | None:
    """Numbers for a few channels, or nothing."""
    if not isinstance(value, list) or not 1 <= len(value) <= 4:
        return None
    if not all(isinstance(one, int | float) and math.isfinite(one) for one in value):
        return None
    return tuple(map(float, value))
