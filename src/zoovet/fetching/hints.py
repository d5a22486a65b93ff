"""What a repository's ``config.json`` says of its network: timm's, and that of transformers' image classifiers."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.fetching.weight_files import SAY_THEIR_GRAPH, Hint
from zoovet.json_files import read_json_object
from zoovet.printable import printable

__all__ = ["CONFIG", "PREPROCESSOR", "hint_beside", "hint_for", "hint_of_config"]

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
"""Files of a repository, or of a folder that one was fetched to."""

_NAMES_OF_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_MAX_NAME = 100
_CLASSIFIER = "ForImageClassification"
_RESCALE = 1 / 255
_MAX_SIDE = 1 << 16


def hint_of_config(path: Path, preprocessor: Path | None = None) -> Hint:
    """What ``config.json`` says: the architecture, the input scaling, the size of images.

    Args:
        path: The file; it may say anything.
        preprocessor: ``preprocessor_config.json``, where transformers says the input scaling, if there is one.
    """
    try:
        config = read_json_object(path)
    except ZoovetError as error:
        return Hint(notes=(f"config.json is not used: {printable(error, 300)}",))
    name = config.get("architecture")
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        kinds = config.get("architectures")
        said = ", ".join(printable(kind, 60) for kind in kinds[:3]) if isinstance(kinds, list) else ""
        if isinstance(kinds, list) and len(kinds) == 1 and str(kinds[0]).endswith(_CLASSIFIER):
            return _hint_of_transformers(path, config, preprocessor, said)
        note = f"config.json says {said}, which nothing follows from; --architecture says what to read it as"
        return Hint(notes=(note,) if said else ())
    settings = config.get("pretrained_cfg")
    hint, shown = _hint(name, settings if isinstance(settings, dict) else config), printable(name)
    if importlib.util.find_spec("timm") is None:
        note = f"config.json says timm's {shown}: pip install timm, and it is read as that"
        return replace(hint, architecture=None, notes=(note,))
    return replace(hint, notes=(f"read as timm's {shown}, as its config.json says",))


def hint_beside(path: Path) -> Hint | None:
    """What the ``config.json`` beside a file of this machine says, where timm or transformers wrote both.

    Args:
        path: The weight file; only what those libraries call theirs is one: ``model.safetensors``, or its index.

    Returns:
        ``None`` where there is none, or it is another's: one that names an architecture without timm's settings.
    """
    config, preprocessor = path.with_name(CONFIG), path.with_name(PREPROCESSOR)
    if path.name.removesuffix(".index.json") not in _NAMES_OF_WEIGHTS or not config.is_file():
        return None
    try:
        said = read_json_object(config)
    except ZoovetError:
        return None
    if "architecture" in said and not isinstance(said.get("pretrained_cfg"), dict):
        return None
    hint = hint_of_config(config, preprocessor if preprocessor.is_file() else None)
    return hint if hint.notes else None


def hint_for(name: str, hint: Hint | None) -> Hint | None:
    """What a repository says of one of its files: not what it is read as, where the file says that itself."""
    if hint is None or not name.lower().endswith(SAY_THEIR_GRAPH):
        return hint
    return replace(hint, architecture=None, notes=())


def _hint_of_transformers(path: Path, config: Mapping[str, Any], preprocessor: Path | None, said: str) -> Hint:
    """What an image classifier's configuration says; its ``path`` is the architecture, for whoever has the library."""
    shape = _shape_of(config.get("num_channels", 3), config.get("image_size"))
    mean = deviation = None
    if preprocessor is not None:
        try:
            images = read_json_object(preprocessor)
        except ZoovetError:
            images = {}
        size = images.get("crop_size") if images.get("do_center_crop") is True else images.get("size")
        shape = shape or _shape_of(config.get("num_channels", 3), size)
        if images.get("do_normalize", True) is True and _is_plain(images):
            mean, deviation = _numbers(images.get("image_mean")), _numbers(images.get("image_std"))
    has_scaling = mean is not None and deviation is not None
    hint = Hint(
        architecture=f"transformers:{path}",
        mean=mean if has_scaling else None,
        deviation=deviation if has_scaling else None,
        input_shape=shape,
    )
    if importlib.util.find_spec("transformers") is None:
        note = f"config.json says transformers' {said}: pip install transformers, and it is read as that"
        return replace(hint, architecture=None, notes=(note,))
    return replace(hint, notes=(f"read as transformers' {said}, as its config.json says",))


def _is_plain(images: Mapping[str, Any]) -> bool:
    """Whether pixels become [0, 1] before the mean is subtracted."""
    factor = images.get("rescale_factor", _RESCALE)
    return images.get("do_rescale", True) is True and isinstance(factor, float) and abs(factor / _RESCALE - 1) < 1e-6


def _shape_of(channels: Any, size: Any) -> tuple[int, int, int] | None:
    """Of images, as transformers says it: a number, two, or an object."""
    if isinstance(size, dict):
        size = [size["height"], size["width"]] if {"height", "width"} <= size.keys() else size.get("shortest_edge")
    height, width = size if isinstance(size, list) and len(size) == 2 else (size, size)
    numbers = (channels, height, width)
    if not all(type(one) is int and 0 < one < _MAX_SIDE for one in numbers):
        return None
    return channels, height, width


def _hint(name: str, settings: Mapping[str, Any]) -> Hint:
    mean, deviation = _numbers(settings.get("mean")), _numbers(settings.get("std"))
    size = _numbers(settings.get("input_size"))
    shape = None
    if size is not None and len(size) == 3 and all(number.is_integer() and 0 < number < _MAX_SIDE for number in size):
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
