"""Tensors of strangers: which are dense real numbers, and how they are shown in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable

__all__ = ["describe_tensors", "require_real", "shape_in_words", "usable", "ways_to_give_a_shape"]

_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_NAMES_IN_MESSAGES = 6


def require_real(tensors: Mapping[str, Tensor], source: str) -> None:
    """Check that tensors have a shape and numbers that weights may have, without reading the numbers.

    Raises:
        ZoovetError: One is not dense, not of real numbers of 16 to 64 bits, or has no numbers (``meta``); the message
            names it.
    """
    for name, tensor in tensors.items():
        kind = _odd_kind(tensor)
        if kind:
            raise ZoovetError(
                f"{source}: tensor '{printable(name, 60)}' is {kind}; weights are dense real numbers of 16 to 64 bits"
            )


def usable(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The tensors in one precision: float64 where one of them is, else float32.

    Raises:
        ZoovetError: One is not of real numbers, or has a NaN, an infinity or a number beyond the range of float32; the
            message names it.
    """
    require_real(tensors, source)
    limit = torch.finfo(torch.float32).max
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ZoovetError(f"{source}: tensor '{printable(name, 60)}' has NaN or infinite numbers")
        if tensor.dtype == torch.float64 and bool((tensor.abs() > limit).any()):
            raise ZoovetError(f"{source}: tensor '{printable(name, 60)}' has numbers beyond the range of float32")
    dtype = torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors.values()) else torch.float32
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def describe_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Names and shapes in one line: ``conv1.weight 16×3×5×5, conv1.bias 16``."""
    parts = [f"{printable(name, 40)} {shape_in_words(tensor.shape)}" for name, tensor in tensors.items()]
    more = len(parts) - _NAMES_IN_MESSAGES
    return ", ".join(parts[:_NAMES_IN_MESSAGES]) + (f" and {more} more" if more > 0 else "")


def ways_to_give_a_shape(example: tuple[int, ...]) -> str:
    """What a message offers where a file leaves the shape of an image open."""
    shown = ",".join(map(str, example))
    return f"images of that size (--images), --input-shape {shown}, or from Python input_shape={example}"


def shape_in_words(shape: Sequence[int]) -> str:
    """``16×3×5×5``; ``a number`` where there is no axis."""
    return "×".join(map(str, shape)) or "a number"


def _odd_kind(tensor: Tensor) -> str:
    """What is odd about a tensor; empty where nothing is."""
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.is_meta:
        return "a meta tensor, which has no numbers"
    if tensor.layout != torch.strided:
        return f"sparse ({str(tensor.layout).removeprefix('torch.')})"
    return "" if tensor.dtype in _REAL else f"of {str(tensor.dtype).removeprefix('torch.')}"
