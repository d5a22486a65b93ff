"""Whether a checkpoint is what was written: SHA-256 of its tensors and description, and numbers that are finite.

The digests lie in the file that they are of. They tell damage (a flipped bit of a disk or a download), not an attacker,
who would write others: against one, compare the whole file with a digest from somewhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable

__all__ = ["digest_of_tensors", "digest_of_text", "require_finite_tensors"]

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool)
_KEPT_IMAGES = ("inversion.known", "inversion.backgrounds")
"""Buffers of images, class by class; a class that the dataset lacks is NaN throughout."""
_UNBOUNDED = ".cutoff"
"""A distance that is infinite where nothing is too far."""


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and bytes, whatever the order of the tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        head = json.dumps([name, str(tensor.dtype), list(tensor.shape)])
        digest.update(f"{head}\n".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def digest_of_text(text: str) -> str:
    """SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def require_finite_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Check that every number is one, where zoovet does not write other things on purpose.

    Args:
        tensors: By name.
        path: Their file, for messages.

    Raises:
        ZoovetError: A tensor has NaN or infinite numbers, or is of a type that no checkpoint has; the first is named.
    """
    where = printable(path)
    for name, tensor in tensors.items():
        shown = printable(repr(name))
        if tensor.dtype not in _FLOATS + _WHOLE:
            raise ZoovetError(f"{where} is not as zoovet writes it: tensor {shown} is of type {tensor.dtype}")
        if tensor.dtype in _FLOATS and not _is_finite(name, tensor):
            raise ZoovetError(
                f"{where} is damaged: tensor {shown} has NaN or infinite numbers; get it anew, or train it again"
            )


def _is_finite(name: str, tensor: Tensor) -> bool:
    if name.endswith(_UNBOUNDED):
        return not bool((tensor.isnan() | tensor.isneginf()).any())
    if name.endswith(_KEPT_IMAGES) and tensor.ndim > 1:
        by_class = tensor.flatten(1)
        return bool((by_class.isfinite().all(dim=1) | by_class.isnan().all(dim=1)).all())
    return bool(tensor.isfinite().all())
