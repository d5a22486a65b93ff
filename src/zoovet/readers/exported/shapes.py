"""Reading calls that move numbers without changing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from zoovet.readers.exported.calls import Call, Reader
from zoovet.readers.exported.values import NUM_IMAGES, Constant, Unreadable, Variable

__all__ = ["SHAPE_READERS", "filled", "repeated"]

_LARGEST = 2**62
_LARGEST_FLOAT = torch.finfo(torch.float32).max


def _reshape(call: Call) -> Variable:
    return call.writer.reshape(call.variable(), call.shape)


def _permute(call: Call) -> Variable:
    value = call.variable()
    return call.writer.permute(value, [axis % len(value.shape) for axis in call["dims"]])


def _swap(first: str | int, second: str | int) -> Reader:
    def read(call: Call) -> Variable:
        value = call.variable()
        order = list(range(len(value.shape)))
        one, other = ((call[axis] if isinstance(axis, str) else axis) % max(1, len(order)) for axis in (first, second))
        order[one], order[other] = order[other], order[one]
        return call.writer.permute(value, order)

    return read


def _transpose_matrix(call: Call) -> Variable:
    return call.writer.permute(call.variable(), range(len(call.variable().shape))[::-1])


def _movedim(call: Call) -> Variable:
    value = call.variable()
    num_axes = len(value.shape)
    sources, targets = (
        [axis % num_axes for axis in ([call[name]] if isinstance(call[name], int) else call[name])]
        for name in ("source", "destination")
    )
    order = [axis for axis in range(num_axes) if axis not in sources]
    for target, source in sorted(zip(targets, sources, strict=True)):
        order.insert(target, source)
    return call.writer.permute(value, order)


def _cat(call: Call) -> Variable:
    return _joined(call, call["tensors"], call["dim"])


def _stack(call: Call) -> Variable:
    axis = call["dim"] % len(call.shape)
    single = (*call.shape[:axis], 1, *call.shape[axis + 1 :])
    parts = [
        call.writer.reshape(part, single)
        if isinstance(part, Variable)
        else Constant(part.tensor.unsqueeze(axis), is_learned=part.is_learned)
        for part in call["tensors"]
    ]
    return _joined(call, parts, axis)


def _joined(call: Call, parts: Sequence[Any], axis: int) -> Variable:
    value = next(part for part in parts if isinstance(part, Variable))
    inside = value.site_axis(axis)
    places = {(part.axis, part.outer, part.inner) for part in parts if isinstance(part, Variable)}
    if len(places) > 1:
        raise Unreadable("puts images beside others")
    sites = [part.site if isinstance(part, Variable) else call.writer.beside(part, value) for part in parts]
    return value.like(sites[0] if len(sites) == 1 else call.writer.add("cat", *sites, dim=inside), call.shape)


def _slice(call: Call) -> Variable:
    value = call.variable()
    axis = call["dim"] % len(value.shape)
    return _part(call, value, axis, call["start"], call["end"], call["step"])


def _part(call: Call, value: Variable, axis: int, start: int | None, end: int | None, step: int = 1) -> Variable:
    size = value.shape[axis]
    first, last, _ = slice(start, min(_LARGEST, size if end is None else end)).indices(size)
    if (first, last, step) == (0, size, 1):
        return value
    inside = value.site_axis(axis)
    shape = (*value.shape[:axis], len(range(first, last, step)), *value.shape[axis + 1 :])
    site = call.writer.add("slice", value.site, dim=inside, start=first, end=last, step=step)
    return value.like(site, shape)


def _slice_scatter(call: Call) -> Variable:
    """A tensor in which a part is replaced: what stands before it, the new part, what stands behind it."""
    value, part = call.variable(), call["src"]
    axis = call["dim"] % len(value.shape)
    size = value.shape[axis]
    first, last, _ = slice(call["start"], min(_LARGEST, size if call["end"] is None else call["end"])).indices(size)
    if call["step"] != 1:
        raise Unreadable("changes entries that do not lie side by side")
    before = [_part(call, value, axis, 0, first)] if first > 0 else []
    behind = [_part(call, value, axis, last, size)] if last < size else []
    if not before and not behind and isinstance(part, Variable):
        return part
    return _joined(call, [*before, part, *behind], axis)


def _narrow(call: Call) -> Variable:
    axis = call["dim"] % len(call.variable().shape)
    return _part(call, call.variable(), axis, call["start"], call["start"] + call["length"])


def _select(call: Call) -> Variable:
    value = call.variable()
    axis = call["dim"] % len(value.shape)
    inside = value.site_axis(axis)
    site = call.writer.add("select", value.site, dim=inside, index=call["index"] % value.shape[axis])
    shape = (*value.shape[:axis], *value.shape[axis + 1 :])
    return Variable(site, shape, value.axis - (axis < value.axis), value.outer, value.inner)


def _chunk(call: Call) -> list[Variable]:
    size = call.variable().shape[call["dim"]]
    return _pieces(call, _equal(size, -(-size // call["chunks"])))


def _split(call: Call) -> list[Variable]:
    sizes = call.arguments.get("split_sizes", call.arguments.get("split_size"))
    return _pieces(call, _equal(call.variable().shape[call["dim"]], sizes) if isinstance(sizes, int) else sizes)


def _equal(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]


def _pieces(call: Call, sizes: Sequence[int]) -> list[Variable]:
    value = call.variable()
    axis, start, pieces = call["dim"] % len(value.shape), 0, []
    for size in sizes:
        pieces.append(_part(call, value, axis, start, start + size))
        start += size
    return pieces


def _unbind(call: Call) -> list[Variable]:
    value = call.variable()
    axis = call["dim"] % len(value.shape)
    shape = (*value.shape[:axis], *value.shape[axis + 1 :])
    inside = value.site_axis(axis)
    return [
        Variable(
            call.writer.add("select", value.site, dim=inside, index=index),
            shape,
            value.axis - (axis < value.axis),
            value.outer,
            value.inner,
        )
        for index in range(value.shape[axis])
    ]


def _expand(call: Call) -> Variable:
    value = call.variable()
    value = call.writer.reshape(value, (*(1,) * (len(call.shape) - len(value.shape)), *value.shape))
    result = value.like(value.site, call.shape)
    if result.site_shape == value.site_shape:
        return result
    return value.like(call.writer.add("expand", value.site, shape=result.site_shape), call.shape)


def _roll(call: Call) -> Variable:
    value = call.variable()
    shifts, axes = ([call[name]] if isinstance(call[name], int) else call[name] for name in ("shifts", "dims"))
    if not axes:
        raise Unreadable("works across images")
    return call.like("roll", value, shifts=tuple(shifts), dims=tuple(value.site_axis(axis) for axis in axes))


def _pad(call: Call) -> Variable:
    if call.arguments.get("mode", "constant") != "constant":
        raise Unreadable(f"pads in the mode {call['mode']!r}; only constants are known")
    value, given = call.variable(), list(call["pad"])
    pads = [0] * (2 * len(value.site_shape))
    for place in range(len(given) // 2):
        before, after = given[2 * place : 2 * place + 2]
        if before or after:
            inside = value.site_axis(-1 - place)
            pads[2 * inside : 2 * inside + 2] = before, after
    if not any(pads):
        return value
    number = 0.0 if call["value"] is None else float(call["value"])
    finite = min(max(number, -_LARGEST_FLOAT), _LARGEST_FLOAT)  # for a largest number behind it, as small as any
    site = call.writer.add("pad", value.site, pad=tuple(pads), value=finite)
    return value.like(site, call.shape)


def _shuffle(call: Call) -> Variable:
    return call.like("channel_shuffle", call.plain(), groups=call["groups"])


def filled(call: Call, number: float, dtype: torch.dtype) -> Variable | Constant:
    """A tensor of one number, of the size that was traced; one that has an axis of images is repeated along it."""
    small = tuple(1 if size == NUM_IMAGES else size for size in call.shape)
    tensor = torch.full(small, number, dtype=dtype)
    if all(size % NUM_IMAGES for size in call.shape):
        return Constant(tensor)
    return call.writer.variable(Constant(tensor), call.shape)


def repeated(call: Call, constant: Constant) -> Variable:
    """A constant repeated for each image, by ``expand`` or ``repeat``."""
    return call.writer.variable(constant, call.shape)


SHAPE_READERS: Mapping[str, Reader] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "view",
                "_unsafe_view",
                "reshape",
                "flatten",
                "unflatten",
                "unsqueeze",
                "squeeze",
                "view_as",
                "reshape_as",
                "ravel",
            ),
            _reshape,
        ),
        "permute": _permute,
        "transpose": _swap("dim0", "dim1"),
        "swapaxes": _swap("axis0", "axis1"),
        "swapdims": _swap("dim0", "dim1"),
        "mT": _swap(-2, -1),
        "t": _transpose_matrix,
        "numpy_T": _transpose_matrix,
        "movedim": _movedim,
        "moveaxis": _movedim,
        "cat": _cat,
        "concat": _cat,
        "concatenate": _cat,
        "stack": _stack,
        "slice": _slice,
        "slice_scatter": _slice_scatter,
        "narrow": _narrow,
        "select": _select,
        "chunk": _chunk,
        "split": _split,
        "split_with_sizes": _split,
        "unbind": _unbind,
        "expand": _expand,
        "expand_as": _expand,
        "roll": _roll,
        "pad": _pad,
        "constant_pad_nd": _pad,
        "channel_shuffle": _shuffle,
        "native_channel_shuffle": _shuffle,
    }
)
"""ATen's name → what reads it."""
