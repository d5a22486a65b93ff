"""Calls of torch's own operators by a TorchScript program: of a closed list, their forms found by their arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from zoovet.readers.exported.program import UnknownOperation
from zoovet.readers.exported.replayed import KNOWN_OPERATORS, MAX_CALLS, NumbersMade, counts_images
from zoovet.readers.torchscript.values import DTYPES

__all__ = ["TensorCalls"]

_WRITTEN_AS_SIMPLER = ("addcmul", "baddbmm", "einsum", "logsumexp", "pixel_shuffle", "pixel_unshuffle", "tensor_split")
_ALLOWED = frozenset((*KNOWN_OPERATORS, *_WRITTEN_AS_SIMPLER, "expand_as", "index_select", "item", "scalar_tensor"))
_IGNORED = frozenset(("layout", "pin_memory", "memory_format", "non_blocking"))
_RESULTS = frozenset(("Tensor", "List[Tensor]"))
_MAX_CONSTANT_NUMBERS = 2**27
_MAX_WORK = 2**36
_COSTLY = frozenset((
    "addmm", "avg_pool2d", "avg_pool3d", "baddbmm", "bmm", "conv1d", "conv2d", "convolution", "einsum", "linear",
    "matmul", "max_pool2d", "max_pool2d_with_indices", "mm", "scaled_dot_product_attention",
))  # fmt: skip
"""Whose cost is more than that of the numbers that they read and make."""


class TensorCalls:
    """Calls operators for one run of a program, within bounds.

    Args:
        dtype: Of the network: real numbers of any precision in the code are of this one.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._made, self._constants = NumbersMade(), NumbersMade(_MAX_CONSTANT_NUMBERS)
        self._work = self._num_calls = 0

    def dtype_of(self, number: Any) -> torch.dtype:
        """The dtype that a number in the code stands for.

        Raises:
            TypeError: It is none, or of numbers that no network reads.
        """
        if type(number) is not int or number not in DTYPES:
            raise TypeError(f"has a dtype that is not read: {number!r}")
        dtype = DTYPES[number]
        return self.dtype if dtype.is_floating_point else dtype

    def call(self, name: str, args: Sequence[Any], keywords: Mapping[str, Any], place: str) -> Any:
        """What an operator gives.

        Args:
            name: Its own, without ``aten``.
            args: In order.
            keywords: Others.
            place: For messages.

        Raises:
            UnknownOperation: It is not of the list, or makes too much.
            TypeError: None of its forms takes such arguments.
        """
        short = name if name in _ALLOWED else name.removesuffix("_")
        packet = getattr(torch.ops.aten, name, None) if name.isidentifier() and short in _ALLOWED else None
        if packet is None:
            raise UnknownOperation(f"aten.{name}", place, "is not in the vocabulary of graphs")
        self._num_calls += 1
        if self._num_calls > MAX_CALLS:
            raise UnknownOperation(f"aten.{name}", place, f"comes after {MAX_CALLS:,} others, more than networks have")
        for overload, numbers_become_tensors in _tries(packet):
            bound = self._bound(overload._schema, args, keywords, numbers_become_tensors)
            if bound is not None:
                return self._checked(overload, short, *bound, place)
        raise TypeError("has arguments of other kinds than it takes")

    def _checked(self, overload: Any, short: str, args: list[Any], keywords: dict[str, Any], place: str) -> Any:
        name = f"aten.{short}"
        inputs = [one for one in _flat((*args, *keywords.values())) if isinstance(one, Tensor)]
        if short in ("repeat", "arange", "linspace"):
            _require_few(short, args, name, place)
        result = overload(*args, **keywords)
        results = list(result) if isinstance(result, list | tuple) else [result]
        self._made.add(results, name, place)
        if not any(map(counts_images, inputs)):
            self._constants.add(results, name, place)
            if short in _COSTLY:
                made = sum(one.numel() for one in results if isinstance(one, Tensor))
                self._work += made * sum(one.numel() for one in inputs)
            if self._work > _MAX_WORK:
                raise UnknownOperation(name, place, "computes more of constants than networks do")
        return results if isinstance(result, list | tuple) else result

    def _bound(
        self, schema: Any, args: Sequence[Any], keywords: Mapping[str, Any], numbers_become_tensors: bool
    ) -> tuple[list[Any], dict[str, Any]] | None:
        """The arguments as a form of an operator takes them; ``None`` where it does not."""
        declared = schema.arguments
        positional = [one for one in declared if not one.kwarg_only]
        by_name = {one.name: one for one in declared}
        if len(args) > len(positional) or any(name not in by_name for name in keywords):
            return None
        given = {one.name: value for one, value in zip(positional, args, strict=False)}
        if given.keys() & keywords.keys():
            return None
        given |= keywords
        bound, named = list[Any](), dict[str, Any]()
        for one in declared:
            if one.name not in given:
                if not one.has_default_value():
                    return None
                value = one.default_value
            elif one.name in _IGNORED:
                value = one.default_value if one.has_default_value() else None
            else:
                value = self._fitting(given[one.name], one.type, str(one.real_type), numbers_become_tensors)
                if value is _UNFIT:
                    return None
            if one.kwarg_only:
                if one.name in given:
                    named[one.name] = value
            else:
                bound.append(value)
        return bound, named

    def _fitting(self, value: Any, kind: Any, words: str, numbers_become_tensors: bool) -> Any:
        """A value as a type has it; ``_UNFIT`` where it has none such."""
        name = kind.kind()
        if name == "OptionalType":
            if value is None:
                return None
            return self._fitting(value, kind.getElementType(), words, numbers_become_tensors)
        if "ScalarType" in words:
            return self.dtype_of(value) if type(value) is int else _UNFIT
        if name == "ListType":
            if not isinstance(value, list | tuple):
                return _UNFIT
            inner = kind.getElementType()
            items = [self._fitting(one, inner, "", numbers_become_tensors) for one in value]
            return _UNFIT if any(one is _UNFIT for one in items) else items
        if name == "TensorType":
            if isinstance(value, Tensor):
                return value
            is_number = numbers_become_tensors and isinstance(value, bool | int | float)
            return self.tensor(value) if is_number else _UNFIT
        return value if isinstance(value, _KINDS.get(name, ())) and _is_exact(value, name) else _UNFIT

    def tensor(self, value: bool | int | float, dtype: torch.dtype | None = None) -> Tensor:
        """A number as a tensor."""
        own = torch.bool if isinstance(value, bool) else torch.int64 if isinstance(value, int) else self.dtype
        made = torch.ops.aten.scalar_tensor.default(value, dtype=dtype or own)
        assert isinstance(made, Tensor)
        return made


_UNFIT = object()
_KINDS: Mapping[str, Any] = {
    "IntType": int,
    "SymIntType": int,
    "FloatType": int | float,
    "BoolType": bool,
    "NumberType": int | float,
    "StringType": str,
    "DeviceObjType": torch.device,
}


def _is_exact(value: Any, kind: str) -> bool:
    return not isinstance(value, bool) or kind in ("BoolType", "NumberType")


@cache
def _tries(packet: Any) -> list[tuple[Any, bool]]:
    """An operator's forms that give tensors, first as they are, then with numbers made tensors."""
    forms = [getattr(packet, name) for name in packet.overloads() if "hacked" not in name]
    usable = [
        one
        for one in forms
        if {str(given.type) for given in one._schema.returns} <= _RESULTS
        and one._schema.returns
        and not any(given.is_out for given in one._schema.arguments)
    ]
    return [(one, turned) for turned in (False, True) for one in usable]


def _require_few(short: str, args: list[Any], name: str, place: str) -> None:
    """Refuse an operator that repeats more often, or counts further, than any network's does, before it begins."""
    numbers = [abs(one) for one in _flat(args) if isinstance(one, int | float)]
    if any(one > _MAX_CONSTANT_NUMBERS for one in numbers):
        raise UnknownOperation(name, place, f"has a size above {_MAX_CONSTANT_NUMBERS:,}")


def _flat(values: Any) -> list[Any]:
    """Values, those in lists too."""
    return [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]
