"""Reading nodes that move numbers without changing them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from zoovet.readers.exported.values import NUM_IMAGES, Constant, Unreadable, Variable
from zoovet.readers.onnx.calls import (
    NodeCall,
    NodeReader,
    axes_of,
    joint_shape,
    shape_of,
)

__all__ = ["LAYOUT_NODES", "resolved_shape"]

_MAX_PIECES = 64


def resolved_shape(shape: tuple[int, ...], target: tuple[int, ...], allow_zero: bool) -> tuple[int, ...]:
    """A reshape's target in which 0 (keep) and -1 (what is left) have been replaced.

    Raises:
        Unreadable: It does not fit.
    """
    if any(size < -1 for size in target) or target.count(-1) > 1:
        raise Unreadable(f"has the shape {list(target)}, which is none")
    result = []
    for axis, size in enumerate(target):
        if size == 0 and not allow_zero:
            if axis >= len(shape):
                raise Unreadable(f"has the shape {list(target)}, which keeps an axis that is not there")
            size = shape[axis]
        result.append(size)
    total, known = math.prod(shape), math.prod(size for size in result if size != -1)
    if -1 in result:
        if not known or total % known:
            raise Unreadable(f"has the shape {list(target)}, which does not fit {list(shape)}")
        result[result.index(-1)] = total // known
    elif known != total:
        raise Unreadable(f"has the shape {list(target)}, which does not fit {list(shape)}")
    return tuple(result)


def _reshape(call: NodeCall) -> Variable:
    value, target = call.variable(), call.integers(1)
    if target is None:
        raise Unreadable("lacks its shape")
    allow_zero = bool(call.attribute("allowzero", 0))
    return _reshaped(call, value, resolved_shape(call.shape_in_file(value), target, allow_zero))


def _reshaped(call: NodeCall, value: Variable, shape: tuple[int, ...]) -> Variable:
    """A value in a shape as the file has it.

    Raises:
        Unreadable: Images no longer lie along one axis.
    """
    batch = call.values.batch
    if batch is None:
        return call.writer.reshape(value, shape)
    fits = []
    for axis, size in enumerate(shape):
        if size % batch == 0:
            traced = (*shape[:axis], size // batch * NUM_IMAGES, *shape[axis + 1 :])
            try:
                fits.append(value.reshaped(value.site, traced))
            except Unreadable:
                continue
    if not fits:
        raise Unreadable("mixes images with one another")
    # In a file for a fixed number of images, any axis that its number divides may be theirs: first one of their own,
    # then one into which the axes before it were taken, as the last are features; of several, where they were.
    last = len(shape) - 1
    best = min(fits, key=lambda one: (one.is_merged, one.is_merged and one.axis == last, one.axis != value.axis))
    return call.writer.reshape(value, best.shape)


def _flatten(call: NodeCall) -> Variable:
    value, axis = call.variable(), call.attribute("axis", 1)
    if not -len(value.shape) <= axis <= len(value.shape):
        raise Unreadable(f"names the axis {axis} of {len(value.shape)}")
    axis += len(value.shape) if axis < 0 else 0
    return call.writer.reshape(value, (math.prod(value.shape[:axis]), math.prod(value.shape[axis:])))


def _squeeze(call: NodeCall) -> Variable:
    value, axes = call.variable(), call.axes(1, 13)
    shape = call.shape_in_file(value)
    gone = axes_of(value, axes) if axes is not None else [axis for axis, size in enumerate(shape) if size == 1]
    if value.axis in gone:
        raise Unreadable("takes away the axis of images")
    if any(shape[axis] != 1 for axis in gone):
        raise Unreadable(f"takes away axes {sorted(gone)} of {list(shape)}, which are not 1")
    return call.writer.reshape(value, [size for axis, size in enumerate(value.shape) if axis not in gone])


def _unsqueeze(call: NodeCall) -> Variable:
    value, axes = call.variable(), call.axes(1, 13)
    if not axes:
        raise Unreadable("lacks its axes")
    rank = len(value.shape) + len(axes)
    new = {axis % rank for axis in axes if -rank <= axis < rank}
    if len(new) != len(axes):
        raise Unreadable(f"names the axes {list(axes)} of {rank}")
    sizes = iter(value.shape)
    return call.writer.reshape(value, [1 if axis in new else next(sizes) for axis in range(rank)])


def _transpose(call: NodeCall) -> Variable:
    value = call.variable()
    order = axes_of(value, call.ints("perm") or tuple(reversed(range(len(value.shape)))))
    if sorted(order) != list(range(len(value.shape))):
        raise Unreadable(f"has the order {order} of {len(value.shape)} axes")
    maker = call.writer.maker(value.site)
    if not value.is_plain or order[0] != 0 or maker is None or maker.op != "permute":
        return call.writer.permute(value, order)
    # Two in a row are one, or none: channels-last files turn images around at once.
    dims = tuple(maker.attributes["dims"][axis - 1] for axis in order[1:])
    if dims == tuple(range(len(dims))):
        return call.made(value, maker.inputs[0])
    return call.made(value, call.writer.add("permute", maker.inputs[0], dims=dims))


def _concat(call: NodeCall) -> Any:
    parts = [call.value(index) for index in range(len(call.node.inputs))]
    axis = call.attribute("axis", kind=int)
    if axis is None or len({len(shape_of(part)) for part in parts}) > 1:
        raise Unreadable("joins tensors of different numbers of axes")
    first = next(part for part in parts if isinstance(part, Variable))
    parts = [call.for_one_image(part, first) if isinstance(part, Constant) else part for part in parts]
    return call.aten("cat", tensors=parts, dim=axes_of(parts[0], (axis,))[0])


def _split(call: NodeCall) -> Any:
    value = call.variable()
    (axis,) = axes_of(value, (call.attribute("axis", 0),))
    sizes = call.integers(1) if call.opset >= 13 else call.ints("split")
    num_pieces = call.attribute("num_outputs", len(call.node.outputs))
    if sizes is None:
        size = -(-value.shape[axis] // max(1, num_pieces))
        sizes = tuple(min(size, value.shape[axis] - start) for start in range(0, value.shape[axis], size))
    if sum(sizes) != value.shape[axis] or min(sizes) < 1 or len(sizes) != len(call.node.outputs):
        raise Unreadable(f"cuts {list(sizes)} off {value.shape[axis]} entries")
    return call.aten("split", self=value, split_sizes=list(sizes), dim=axis)


def _slice(call: NodeCall) -> Variable:
    value = call.variable()
    if call.opset >= 10:
        starts, ends, axes, steps = (call.integers(index) for index in (1, 2, 3, 4))
    else:
        starts, ends, axes, steps = call.ints("starts"), call.ints("ends"), call.ints("axes"), None
    starts, ends = starts or (), ends or ()
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise Unreadable("has starts, ends, axes and steps of different lengths")
    for axis, start, end, step in zip(axes_of(value, axes), starts, ends, steps, strict=True):
        if step < 1:
            raise Unreadable("walks backward")
        value = call.aten("slice", self=value, dim=axis, start=start, end=end, step=step)
    return value


def _pad(call: NodeCall) -> Any:
    value = call.variable()
    pads = call.integers(1) if call.opset >= 11 else call.ints("pads")
    number = call.number(2) if call.opset >= 11 else call.attribute("value", 0.0)
    rank = len(value.shape)
    axes = axes_of(value, call.integers(3) or tuple(range(rank)))
    if pads is None or len(pads) != 2 * len(axes):
        raise Unreadable("has pads that do not fit its axes")
    sides = {axis: (pads[place], pads[place + len(axes)]) for place, axis in enumerate(axes)}
    given = [side for axis in reversed(range(rank)) for side in sides.get(axis, (0, 0))]
    return call.aten("pad", self=value, pad=given, mode=call.attribute("mode", "constant"), value=number)


def _gather(call: NodeCall) -> Any:
    value, table = call.variable(), call.weight(1).tensor
    (axis,) = axes_of(value, (call.attribute("axis", 0),))
    shape = call.shape_in_file(value)
    size = shape[axis]
    if table.is_floating_point() or not table.numel() or bool(((table < -size) | (table >= size)).any()):
        raise Unreadable(f"picks entries that are not among the {size}")
    table = table % size
    if table.ndim == 0:
        return call.aten("select", self=value, dim=axis, index=int(table))
    if table.ndim > 1:
        in_order = torch.equal(table.flatten(), torch.arange(size))
        picked = value if in_order else _picked(call, value, axis, table.flatten().tolist())
        if axis == value.axis:
            return _reshaped(call, picked, (*shape[:axis], *table.shape, *shape[axis + 1 :]))
        return call.writer.reshape(picked, (*value.shape[:axis], *table.shape, *value.shape[axis + 1 :]))
    return _picked(call, value, axis, table.tolist())


def _picked(call: NodeCall, value: Variable, axis: int, places: list[int]) -> Any:
    """Entries along an axis, in any order and however often."""
    steps = {later - one for one, later in itertools.pairwise(places)}
    if len(steps) <= 1 and min(steps, default=1) > 0:
        step = min(steps, default=1)
        return call.aten("slice", self=value, dim=axis, start=places[0], end=places[-1] + 1, step=step)
    if len(places) > _MAX_PIECES:
        raise Unreadable("picks many entries in an order of its own")
    pieces = [call.aten("slice", self=value, dim=axis, start=place, end=place + 1, step=1) for place in places]
    return call.aten("cat", tensors=pieces, dim=axis)


def _gather_nd(call: NodeCall) -> Variable:
    """Entries along the first two axes by rows and columns, as exporters write windows that overlap."""
    value, table = call.variable(), call.weight(1).tensor
    shape = call.shape_in_file(value)
    if call.attribute("batch_dims", 0) or table.is_floating_point() or table.ndim < 2 or table.shape[-1] != 2:
        raise Unreadable("picks entries by another table than one of rows and columns")
    sizes = torch.tensor(shape[:2])
    if len(shape) < 2 or not table.numel() or bool(((table < -sizes) | (table >= sizes)).any()):
        raise Unreadable(f"picks entries that are not among {list(shape[:2])}")
    rows, columns = (table % sizes).unbind(-1)
    for cut in range(1, rows.ndim):
        heights, widths = rows.shape[:cut], rows.shape[cut:]
        down, right = rows.reshape(math.prod(heights), -1), columns.reshape(-1, math.prod(widths))
        if bool((down == down[:, :1]).all()) and bool((right == right[:1]).all()):
            picked = _picked(call, value, 0, down[:, 0].tolist())
            picked = _picked(call, picked, 1, right[0].tolist())
            return call.writer.reshape(picked, (*rows.shape, *value.shape[2:]))
    raise Unreadable("picks entries by a table that is not one of rows by one of columns")


def _expand(call: NodeCall) -> Any:
    value, target = call.value(0), call.integers(1)
    if target is None:
        raise Unreadable("lacks its shape")
    if isinstance(value, Constant):
        return call.writer.variable(value, joint_shape(shape_of(value), target))
    shape = list(joint_shape(call.shape_in_file(value), target))
    shape[value.axis + len(shape) - len(value.shape)] = value.shape[value.axis]
    return call.aten("expand", tuple(shape), self=value)


def _tile(call: NodeCall) -> Variable:
    repeats = call.integers(1)
    if repeats is None or set(repeats) != {1}:
        raise Unreadable("repeats what depends on the images")
    return call.variable()


def _depth_to_space(call: NodeCall) -> Variable:
    value, block = call.variable(), call.attribute("blocksize", kind=int)
    num, channels, height, width = _map(value, block)
    mode = call.attribute("mode", "DCR")
    if mode not in ("DCR", "CRD") or channels % block**2:
        raise Unreadable(f"cannot deal {channels} channels to blocks of {block}×{block}")
    kept = channels // block**2
    dealt = (num, block, block, kept, height, width) if mode == "DCR" else (num, kept, block, block, height, width)
    order = (0, 3, 4, 1, 5, 2) if mode == "DCR" else (0, 1, 4, 2, 5, 3)
    crossed = call.writer.permute(call.writer.reshape(value, dealt), order)
    return call.writer.reshape(crossed, (num, kept, height * block, width * block))


def _space_to_depth(call: NodeCall) -> Variable:
    value, block = call.variable(), call.attribute("blocksize", kind=int)
    if call.attribute("mode", "DCR") != "DCR":
        raise Unreadable("has another mode than DCR")
    num, channels, height, width = _map(value, block)
    if height % block or width % block:
        raise Unreadable(f"cannot deal {height}×{width} to blocks of {block}×{block}")
    dealt = call.writer.reshape(value, (num, channels, height // block, block, width // block, block))
    crossed = call.writer.permute(dealt, (0, 3, 5, 1, 2, 4))
    return call.writer.reshape(crossed, (num, channels * block**2, height // block, width // block))


def _map(value: Variable, block: int | None) -> tuple[int, int, int, int]:
    if len(value.shape) != 4 or not value.is_plain or not block or block < 1:
        raise Unreadable("reads no map of channels, height and width")
    num, channels, height, width = value.shape
    return num, channels, height, width


LAYOUT_NODES: Mapping[str, NodeReader] = MappingProxyType(
    {
        "Reshape": _reshape,
        "Flatten": _flatten,
        "Squeeze": _squeeze,
        "Unsqueeze": _unsqueeze,
        "Transpose": _transpose,
        "Concat": _concat,
        "Split": _split,
        "Slice": _slice,
        "Pad": _pad,
        "Gather": _gather,
        "GatherND": _gather_nd,
        "Expand": _expand,
        "Tile": _tile,
        "DepthToSpace": _depth_to_space,
        "SpaceToDepth": _space_to_depth,
    }
)
"""ONNX's name → what reads it where it depends on the images."""
