"""Records of the tensors that a pickle by ``torch.save`` describes: where their numbers lie, or what is odd of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoovet.readers.parsing.dtypes import ITEM_BYTES, STORAGES
from zoovet.readers.parsing.values import Global, OddTensor, Storage, StoredTensor

__all__ = ["TENSOR_CALLS", "TENSOR_CLASSES", "storage_of"]

_MAX_DIMENSIONS = 64
TENSOR_CLASSES = frozenset((
    "torch.Tensor",
    "torch.nested._internal.nested_tensor.NestedTensor",
    "torch.nn.parameter.Buffer",
    *(f"torch.{place}{name.removesuffix('Storage')}Tensor" for name in STORAGES for place in ("", "cuda.")),
))  # fmt: skip
"""Classes of tensors; called, they would give one without numbers."""


def storage_of(persistent_id: Any) -> Any:
    """What torch's ``("storage", class, key, device, count)`` stands for; of ``("module", class, …)`` the class.

    Raises:
        TypeError: It is something else.
        ValueError: A number in it makes no sense.
    """
    if not isinstance(persistent_id, tuple) or len(persistent_id) < 2:
        raise TypeError("a storage is not named by a tuple")
    if persistent_id[0] == "module":
        return persistent_id[1]
    kind, of, key, _, count, *view = persistent_id
    if kind not in ("storage", b"storage") or not isinstance(of, Global) or not isinstance(key, str | int):
        raise TypeError("something else than a storage is asked for")
    dtype = STORAGES.get(of.name)
    if dtype is None:
        raise TypeError("a storage is of a class that is none")
    size = ITEM_BYTES[dtype]
    start, count = 0, _natural(count)
    if view and view[0] is not None:
        _, offset, count = view[0]
        start, count = _natural(offset) * size, _natural(count)
    return Storage(str(key)[:100], dtype, count * size, start)


def _natural(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError("a tensor's size makes no sense")
    return value


def _sizes(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list | tuple) or len(values) > _MAX_DIMENSIONS:
        raise ValueError("a tensor's shape makes no sense")
    return tuple(map(_natural, values))


def _dtype_name(value: Any) -> str:
    if not isinstance(value, Global) or value.name not in ITEM_BYTES:
        raise TypeError("a tensor's dtype is none")
    return value.name


def _dense(
    storage: Any, offset: Any, shape: Any, stride: Any, notes: Any = None, dtype: str | None = None
) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise TypeError("a tensor is not a view of a storage")
    flags = {key for key, value in getattr(notes, "pairs", ())[:4] if value is True and isinstance(key, str)}
    shape, stride = _sizes(shape), _sizes(stride)
    if len(shape) != len(stride):
        raise ValueError("a tensor has another number of strides than of dimensions")
    return StoredTensor(
        storage, dtype or storage.dtype, _natural(offset), shape, stride, "neg" in flags, "conj" in flags
    )


def _rebuild_v1(storage: Any, offset: Any, shape: Any, stride: Any) -> StoredTensor:
    return _dense(storage, offset, shape, stride)


def _rebuild_v2(
    storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any = False, _hooks: Any = None, notes: Any = None
) -> StoredTensor:
    return _dense(storage, offset, shape, stride, notes)


def _rebuild_v3(
    storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, notes: Any = None
) -> StoredTensor:
    return _dense(storage, offset, shape, stride, notes, _dtype_name(dtype))


def _parameter(data: Any = None, *_: Any) -> Any:
    return data


def _quantized(storage: Any, _offset: Any, shape: Any, *_: Any) -> OddTensor:
    return OddTensor("quantized", storage.dtype if isinstance(storage, Storage) else "", _sizes(shape))


def _sparse(_layout: Any, data: Any, *_: Any) -> OddTensor:
    values = [part for part in data[:4] if isinstance(part, StoredTensor)]
    shapes = [part for part in data[:4] if isinstance(part, list | tuple)]
    return OddTensor("sparse", values[-1].dtype if values else "", _sizes(shapes[0]) if shapes else ())


def _meta(dtype: Any, shape: Any, *_: Any) -> OddTensor:
    return OddTensor("meta", _dtype_name(dtype), _sizes(shape))


def _nested(buffer: Any, *_: Any) -> OddTensor:
    return OddTensor("nested", buffer.dtype if isinstance(buffer, StoredTensor) else "")


def _subclass(*_: Any) -> OddTensor:
    return OddTensor("subclassed")


TENSOR_CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _rebuild_v1,
    "torch._utils._rebuild_tensor_v2": _rebuild_v2,
    "torch._utils._rebuild_tensor_v3": _rebuild_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_device_tensor_from_numpy": _parameter,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _parameter,
    "torch._utils._rebuild_qtensor": _quantized,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_nested_tensor": _nested,
    "torch._utils._rebuild_wrapper_subclass": _subclass,
    "torch.nested._internal.nested_tensor._rebuild_njt": _nested,
    "torch.nn.parameter.Parameter": _parameter,
}
"""Functions by which torch's tensors are pickled."""
