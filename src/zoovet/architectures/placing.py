"""Modules that take the tensors of a state dict: each has its place in them, or nothing is read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoovet.architectures.external import external_module
from zoovet.architectures.family import Misfit
from zoovet.architectures.library_index import COUNTER, common_prefix
from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.tensors import shape_in_words, usable

__all__ = ["WHOLE", "external_for", "loaded", "require_all"]

WHOLE = (torch.int32, torch.int64)
"""Of tables of positions, which stand beside weights."""


def require_all(module: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that a module's tensors are those of a state dict, in their shapes.

    Raises:
        Misfit: One is missing, too many, or of another shape.
    """
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items() if not name.endswith(COUNTER)}
    for name, shape in own.items():
        if name not in shapes:
            raise Misfit(f"lacks {printable(name, 60)} ({shape_in_words(shape)})")
        if shapes[name] != shape:
            raise Misfit(
                f"has {printable(name, 60)} of {shape_in_words(shapes[name])}, expected {shape_in_words(shape)}"
            )
    for name in shapes:
        if name not in own:
            raise Misfit(f"has {printable(name, 60)} ({shape_in_words(shapes[name])}), which has no place in it")


def external_for(architecture: str, tensors: Mapping[str, Tensor], source: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """The module of a library or of the user's own, and the tensors by its names for them.

    A library's has as many classes as the tensors say that are of another length only; files may be sorted by name.
    """
    module = external_module(architecture, None)
    names = [name for name in module.state_dict() if not name.endswith(COUNTER)]
    renamed = {f"{common_prefix(names)}{name}": tensor for name, tensor in tensors.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in renamed.items()}
    try:
        require_all(module, shapes)
    except Misfit as error:
        own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items() if name in shapes}
        lengths = {shapes[name][0] for name, shape in own.items() if _is_longer_or_shorter(shapes[name], shape)}
        if architecture.rpartition(":")[0].endswith(".py") or len(lengths) != 1:
            raise ZoovetError(f"{source} is no {printable(architecture, 60)}: it {error}") from None
        (num_classes,) = lengths
        module = external_module(architecture, num_classes)
        try:
            require_all(module, shapes)
        except Misfit as again:
            said = f"{printable(architecture, 60)} of {num_classes} classes"
            raise ZoovetError(f"{source} is no {said}: it {again}") from None
    return module, renamed


def _is_longer_or_shorter(given: tuple[int, ...], own: tuple[int, ...]) -> bool:
    """Whether shapes differ in their first axis alone, as a last layer's do by its classes."""
    return len(given) == len(own) > 0 and given[0] != own[0] and given[1:] == own[1:]


def _is_whole(given: Tensor, own: Tensor) -> bool:
    """Whether a tensor holds whole numbers where the module has such, as in a table of positions."""
    return given.dtype == own.dtype and given.layout == torch.strided and own.dtype in WHOLE


def loaded(module: nn.Module, tensors: Mapping[str, Tensor], source: str, title: str) -> nn.Module:
    """A module with a file's weights, in their precision and in evaluation mode.

    Raises:
        ZoovetError: The weights cannot be computed with, or have no place in it; ``source`` and ``title`` are named.
    """
    own = module.state_dict()
    whole = {name: one for name, one in tensors.items() if name in own and _is_whole(one, own[name])}
    numbers = usable({name: tensor for name, tensor in tensors.items() if name not in whole}, source)
    dtype = next(iter(numbers.values())).dtype
    counters = {name: tensor for name, tensor in own.items() if name.endswith(COUNTER)}
    given: Any = OrderedDict(numbers | whole | counters)
    given._metadata = getattr(own, "_metadata", {})  # versions, which some modules ask for
    try:
        module.to(dtype).load_state_dict(given, strict=True)
    except Exception as error:  # whatever a library's or the user's own module raises
        raise ZoovetError(f"{source} does not fit {printable(title)}: {printable(error)}") from error
    return module.eval().requires_grad_(False)
