"""The module that a ``config.json`` of the library transformers describes. No code that it names is fetched or run."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from zoovet.architectures.without_numbers import WithoutNumbers
from zoovet.errors import ZoovetError
from zoovet.json_files import read_json_object
from zoovet.printable import printable

__all__ = ["module_of_config", "with_names_of_files"]

_LEFT_OUT = ("auto_map", "quantization_config", "dtype", "torch_dtype", "attn_implementation", "_attn_implementation")
"""What names code of the repository, or says how and not what is computed."""

_NAMES_OF_CLASSES = ("id2label", "label2id")
_MOST_LAYERS, _LARGEST_SIZE, _MOST_NUMBERS = 1_000, 1 << 17, 4_000_000_000


def module_of_config(path: Path, num_classes: int | None) -> nn.Module:
    """An image classifier with random weights.

    Args:
        path: The file; it may say anything.
        num_classes: As many as the file says where left out.

    Raises:
        ZoovetError: transformers knows no such classifier, or the file says sizes that none has.
    """
    config = {name: value for name, value in read_json_object(path).items() if name not in _LEFT_OUT}
    kind = config.get("model_type")
    known: Any = importlib.import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING
    if not isinstance(kind, str) or kind not in known:
        raise ZoovetError(f"transformers knows no '{printable(kind, 60)}', which {printable(path)} says as model_type")
    _require_sizes(config, path)
    if num_classes is not None:
        config = {name: value for name, value in config.items() if name not in _NAMES_OF_CLASSES}
        config["num_labels"] = num_classes
    made = known[kind].from_dict(config)
    make: Any = importlib.import_module("transformers").AutoModelForImageClassification.from_config
    with WithoutNumbers():
        count = sum(one.numel() for one in make(made).parameters())
    if count > _MOST_NUMBERS:
        raise ZoovetError(f"{printable(path)} describes {count:,} numbers; at most {_MOST_NUMBERS:,} are made")
    return with_names_of_files(make(made))


def with_names_of_files(module: nn.Module) -> nn.Module:
    """A module of transformers whose state dict has the names of the library's files; other ones since version 5.

    Args:
        module: It gets hooks that give and take those names.
    """
    try:
        to_files: Any = importlib.import_module("transformers.core_model_loading").revert_weight_conversion
    except (ImportError, AttributeError):  # versions before, whose names are those of files
        return module
    own = module.state_dict()
    places = {id(tensor): name for name, tensor in own.items()}
    named = {name: places.get(id(tensor)) for name, tensor in to_files(module, dict(own)).items()}
    if len(named) != len(own) or None in named.values():
        return module  # tensors are joined or cut in files
    in_files = {mine: name for name, mine in named.items() if mine is not None}

    def give(_: nn.Module, state: dict[str, Any], prefix: str, __: Any) -> None:
        taken = {name: state.pop(prefix + mine) for mine, name in in_files.items()}
        state.update({prefix + name: tensor for name, tensor in taken.items()})

    def take(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
        given = {name: state.pop(prefix + name) for name in named if prefix + name in state}
        state.update({f"{prefix}{named[name]}": tensor for name, tensor in given.items()})

    module.register_state_dict_post_hook(give)
    module.register_load_state_dict_pre_hook(take)
    return module


def _require_sizes(config: Mapping[str, Any], path: Path) -> None:
    """Refuse sizes that would take all time or memory before a tensor is compared.

    Raises:
        ZoovetError: There are some.
    """
    for name, value in config.items():
        if name in _NAMES_OF_CLASSES:
            continue
        numbers = list(_whole_numbers(value))
        is_count = "layers" in name or "depth" in name or "blocks" in name
        if any(number > _LARGEST_SIZE for number in numbers) or (is_count and sum(numbers) > _MOST_LAYERS):
            raise ZoovetError(f"{printable(path)} says {printable(name, 60)} larger than any network's")


def _whole_numbers(value: Any) -> Iterator[int]:
    if isinstance(value, int) and not isinstance(value, bool):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _whole_numbers(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _whole_numbers(one)
