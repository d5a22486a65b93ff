"""Weights that torch keeps in parts (pruning masks, weight norm, spectral norm), folded as ``module.eval()`` does.

Sources: Salimans and Kingma 2016, *Weight Normalization*; Miyato et al. 2018, *Spectral Normalization for GANs*; the
names are those of ``torch.nn.utils.prune``, ``torch.nn.utils.weight_norm`` and ``spectral_norm``, and of their
successors in ``torch.nn.utils.parametrizations``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.tensors import require_real

__all__ = ["fold_parametrizations"]

_SUFFIXES = {"_orig", "_mask", "_g", "_v", "_u"}
_OLD = re.compile(r"(?P<name>.*(?:weight|bias))(?P<part>_orig|_mask|_g|_v|_u)")
_NEW = re.compile(r"(?P<before>(?:.*\.)?)parametrizations\.(?P<kind>weight|bias)\.(?P<part>.+)")


def fold_parametrizations(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Tensors under the names of what they make up: ``conv.weight_orig`` and ``conv.weight_mask`` are ``conv.weight``.

    Args:
        tensors: By name.
        source: Their file, for messages.

    Returns:
        The folded weights where their first part was; the others as they are.

    Raises:
        ZoovetError: Parts do not make up a weight by a way that is known, or do not fit one another.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        whole, part = _whole_and_part(name, tensors)
        parts.setdefault(whole, {})[part] = tensor
    folded = {}
    for whole, own in parts.items():
        if set(own) == {""}:
            folded[whole] = own[""]
            continue
        fold = _FOLDS.get(frozenset(own))
        if fold is None:
            names = printable(", ".join(part or "itself" for part in own), 60)
            raise ZoovetError(
                f"{source}: '{printable(whole, 60)}' is kept in parts whose meaning is not known ({names}); known are "
                "pruning masks, weight norm and spectral norm"
            )
        require_real({f"{whole}{part}": tensor for part, tensor in own.items() if part != "_mask"}, source)
        if any(_is_larger_than_stored(tensor) for tensor in own.values()):
            raise ZoovetError(f"{source}: a part of '{printable(whole, 60)}' is larger than what is stored of it")
        try:
            folded[whole] = fold({_ROLES.get(part, part): tensor for part, tensor in own.items()})
        except (RuntimeError, ValueError, IndexError) as error:
            raise ZoovetError(f"{source}: the parts of '{printable(whole, 60)}' do not fit one another") from error
    return folded


def _whole_and_part(name: str, tensors: Mapping[str, Tensor]) -> tuple[str, str]:
    """The weight that a tensor is of, and its part of it; the part is empty where it is the weight itself."""
    if match := _NEW.fullmatch(name):
        return f"{match['before']}{match['kind']}", f".{match['part']}"
    match = _OLD.fullmatch(name)
    if match is None:
        return name, ""
    partners = {suffix for suffix in _SUFFIXES if f"{match['name']}{suffix}" in tensors}
    return (match["name"], match["part"]) if len(partners) > 1 or partners == {"_orig"} else (name, "")


def _is_larger_than_stored(tensor: Tensor) -> bool:
    """Whether a tensor repeats its numbers, so that computing with it might take any memory."""
    return tensor.layout == torch.strided and tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()


def _masked(parts: Mapping[str, Tensor]) -> Tensor:
    if parts["mask"].layout != torch.strided or parts["original"].shape != parts["mask"].shape:
        raise ValueError("a mask is dense and has the shape of what it masks")
    return parts["mask"].to(parts["original"].dtype) * parts["original"]


def _weight_norm(parts: Mapping[str, Tensor]) -> Tensor:
    """A direction of norm 1 times a length; the axis that has a length for each index is seen by its shape."""
    direction, length = parts["direction"], parts["length"]
    axes = [axis for axis in range(length.dim()) if length.shape[axis] != 1]
    if length.dim() not in (0, direction.dim()) or len(axes) > 1:
        raise ValueError("a length is a number, or one for each index of an axis")
    if any(length.shape[axis] != direction.shape[axis] for axis in axes):
        raise ValueError("as many lengths as indices")
    if axes or length.dim() == 0:
        return torch._weight_norm(direction, length, axes[0] if axes else -1)
    return torch._weight_norm(direction, length, next((i for i, n in enumerate(direction.shape) if n == 1), -1))


def _spectral_norm(parts: Mapping[str, Tensor]) -> Tensor:
    """Divided by the largest singular value as the stored vectors of the power iteration estimate it."""
    weight, left, right = parts["original"], parts["left"], parts["right"]
    axes = [axis for axis in (0, 1) if weight.shape[axis] == len(left)]
    if not axes or left.dim() != 1 or right.dim() != 1:
        raise ValueError("the vectors are as long as the weight's axes")
    matrix = weight.movedim(axes[0], 0).flatten(1)
    return weight / torch.dot(left, torch.mv(matrix, right))


_ROLES = {
    "_orig": "original",
    "_mask": "mask",
    "_g": "length",
    "_u": "left",
    "_v": "right",
    ".original": "original",
    ".original0": "length",
    ".original1": "direction",
    ".0._u": "left",
    ".0._v": "right",
}


def _old_weight_norm(parts: Mapping[str, Tensor]) -> Tensor:
    return _weight_norm({"length": parts["length"], "direction": parts["right"]})


_FOLDS: dict[frozenset[str], Callable[[Mapping[str, Tensor]], Tensor]] = {
    frozenset(("_orig", "_mask")): _masked,
    frozenset(("_g", "_v")): _old_weight_norm,
    frozenset(("_orig", "_u", "_v")): _spectral_norm,
    frozenset((".original0", ".original1")): _weight_norm,
    frozenset((".original", ".0._u", ".0._v")): _spectral_norm,
}
