"""What a TorchScript program may call: operators on plain values, facts of tensors, torch's own operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.file_errors import MALFORMED
from zoovet.readers.exported.program import UnknownOperation
from zoovet.readers.parsing.kinds import said_in_parentheses
from zoovet.readers.torchscript.fast_paths import FAST_PATHS
from zoovet.readers.torchscript.plain_values import LIST_OPERATORS, PLAIN_OPERATORS, bounded
from zoovet.readers.torchscript.tensor_calls import TensorCalls
from zoovet.readers.torchscript.values import DTYPES, Named, StopsItself, Unset

__all__ = ["Operators"]

_DROPOUTS = frozenset(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"))
_MAX_MADE = 4096
_SAME = frozenset(("detach", "alias", "data", "cpu", "cuda"))


class Operators:
    """Calls operators for one run of a program.

    Args:
        dtype: Of the network.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.tensors = TensorCalls(dtype)
        self.notes: dict[str, None] = {}

    def call(self, path: str, args: list[Any], keywords: dict[str, Any], place: str) -> Any:
        """What an operator gives.

        Args:
            path: ``torch.conv2d``, ``ops.prim.dtype``.
            args: In order.
            keywords: Others.
            place: For messages.

        Raises:
            UnknownOperation: It is not known, or cannot take these arguments.
            StopsItself: The program raises an error by it.
        """
        namespace, _, name = path.rpartition(".")
        known = {"torch": "aten", "ops.aten": "aten", "ops.prim": "prim"}.get(namespace, "")
        shown = printable(f"{known}.{name}" if known else path.removeprefix("ops."), 80)
        try:
            if known == "prim":
                return self._of_prim(name, args, keywords, shown, place)
            if known == "aten":
                return self._of_aten(name, args, keywords, place)
        except ZoovetError:
            raise
        except MALFORMED as error:
            raise UnknownOperation(shown, place, f"does not fit{said_in_parentheses(error)}") from None
        raise UnknownOperation(shown, place, "is not in the vocabulary of graphs")

    def _of_prim(self, name: str, args: list[Any], keywords: dict[str, Any], shown: str, place: str) -> Any:
        if name == "RaiseException":
            raise StopsItself(printable(args[0] if args else "", 120))
        if name in _PRIM:
            return _PRIM[name](self, *args)
        if name in ("min", "max", "abs"):
            return self._of_aten(name, args, keywords, place)
        raise UnknownOperation(shown, place, "is not in the vocabulary of graphs")

    def _of_aten(self, name: str, args: list[Any], keywords: dict[str, Any], place: str) -> Any:
        if name in _ANY:
            return _ANY[name](self, *args)
        if name in LIST_OPERATORS and args and isinstance(args[0], list | dict):
            return PLAIN_OPERATORS[name](*args, **keywords)
        if name == "tensor":
            return self._tensor(args[0], keywords.get("dtype"))
        if not any(isinstance(one, Tensor) for one in (*args, *keywords.values())):
            if name in PLAIN_OPERATORS:
                return PLAIN_OPERATORS[name](*args, **keywords)
            if name in ("to", "type_as"):
                return self._number_as(args)
        elif isinstance(args[0], Tensor) and name in _FACTS:
            return bounded(_FACTS[name](self, *args))
        elif isinstance(args[0], Tensor) and name in ("to", "type_as"):
            return self._cast(args, keywords, place)
        return self._of_torch(name, args, keywords, place)

    def _of_torch(self, name: str, args: list[Any], keywords: dict[str, Any], place: str) -> Any:
        if name in FAST_PATHS:
            return FAST_PATHS[name](lambda of, *given: self.tensors.call(of, given, {}, place), *args)
        if name.removesuffix("_") in _DROPOUTS and len(args) > 2 and args[2] is True:
            self.notes["dropout that its code leaves on, as when it was traced in training, is left out"] = None
            args = [*args[:2], False]
        if name == "_convolution":
            name, args = _convolution(args)
        if name.endswith("_") and not isinstance(args[0], Tensor):
            raise TypeError("changes what is no tensor")
        return self.tensors.call(name, args, keywords, place)

    def _number_as(self, args: list[Any]) -> Any:
        """A number in another dtype."""
        wanted = next((one for one in args[1:] if type(one) is int), None)
        return float(args[0]) if wanted is not None and self.tensors.dtype_of(wanted).is_floating_point else args[0]

    def _cast(self, args: list[Any], keywords: dict[str, Any], place: str) -> Any:
        tensor, *others = args
        like = next((one for one in others if isinstance(one, Tensor)), None)
        number = keywords.get("dtype", next((one for one in others if type(one) is int), None))
        dtype = like.dtype if like is not None else None if number is None else self.tensors.dtype_of(number)
        if dtype is None or dtype == tensor.dtype:
            return tensor
        number = next(number for number, own in DTYPES.items() if own == dtype)
        return self.tensors.call("to", [tensor, number], {}, place)

    def _tensor(self, value: Any, number: Any) -> Any:
        """A tensor of a number, or of a list of some."""
        dtype = None if number is None else self.tensors.dtype_of(number)
        if isinstance(value, list | tuple):
            if len(value) > _MAX_MADE or any(isinstance(one, list | tuple) for one in value):
                raise TypeError(f"makes a tensor of more than {_MAX_MADE} numbers, or of lists")
            return torch.ops.aten.stack.default([self.tensors.tensor(one, dtype) for one in value])
        return value if isinstance(value, Tensor) else self.tensors.tensor(value, dtype)


def _convolution(args: list[Any]) -> tuple[str, list[Any]]:
    """A traced convolution by its name, and what that takes; one that is transposed as it stands."""
    image, weight, bias, stride, padding, dilation, is_transposed, _, groups = args[:9]
    if is_transposed or weight.ndim not in (3, 4):
        return "convolution", args[:9]
    return f"conv{weight.ndim - 2}d", [image, weight, bias, stride, padding, dilation, groups]


def _number_of(dtype: torch.dtype) -> int:
    return next(number for number, own in DTYPES.items() if own == dtype)


def _size(_: Operators, tensor: Tensor, axis: int | None = None) -> Any:
    return list(tensor.shape) if axis is None else tensor.shape[axis]


def _unknown_number(_: Operators, *__: Any) -> Any:
    raise TypeError("asks what number a tensor holds, which depends on the images or weights")


_FACTS: Mapping[str, Callable[..., Any]] = MappingProxyType({
    "size": _size,
    "sym_size": _size,
    "dim": lambda _, tensor: tensor.ndim,
    "len": lambda _, tensor: tensor.shape[0],
    "numel": lambda _, tensor: tensor.numel(),
    "is_floating_point": lambda _, tensor: tensor.is_floating_point(),
    "is_complex": lambda _, tensor: tensor.is_complex(),
    "is_contiguous": lambda _, tensor: True,
    **dict.fromkeys(("Int", "Float", "Bool", "item"), _unknown_number),
    **dict.fromkeys(("ScalarImplicit", "IntImplicit", "FloatImplicit"), _unknown_number),
    **dict.fromkeys(_SAME, lambda _, tensor, *__: tensor),
})  # fmt: skip
"""What a program asks of tensors: known of their shape and dtype."""

_ANY: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "__is__": lambda _, first, second: first is second,
        "__isnot__": lambda _, first, second: first is not second,
        "is_grad_enabled": lambda _: True,
        "is_autocast_enabled": lambda _, *__: False,
        "is_autocast_cpu_enabled": lambda _, *__: False,
    }
)
"""What is known of any value; gradients count as wanted, so that no way is taken that exists for speed alone."""

_PRIM: Mapping[str, Callable[..., Any]] = MappingProxyType({
    "NumToTensor": lambda _, number: number,
    "dtype": lambda _, tensor: _number_of(tensor.dtype),
    "device": lambda _, tensor: torch.device("cpu"),
    "type": lambda _, device: "cpu",
    "layout": lambda _, tensor: 0,
    "shape": _size,
    "data": lambda _, tensor: tensor,
    "requires_grad": lambda _, tensor: True,
    "is_cuda": lambda _, tensor: False,
    "is_nested": lambda _, tensor: False,
    "is_quantized": lambda _, tensor: False,
    "is_sparse": lambda _, tensor: False,
    "is_mkldnn": lambda _, tensor: False,
    "unchecked_cast": lambda _, value: value,
    "unchecked_unwrap_optional": lambda _, value: value,
    "itemsize": lambda _, tensor: tensor.itemsize,
    "TupleUnpack": lambda _, items: items.items if isinstance(items, Named) else items,
    "Uninitialized": lambda _: Unset(),
})  # fmt: skip
