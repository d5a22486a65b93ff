"""Reading operators that move numbers without changing them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from zoovet.readers.exported.values import Unreadable
from zoovet.readers.tflite.calls import MAP_AXES, TO_FILE, TO_MAP, Held, OperatorCall, OperatorReader

__all__ = ["LAYOUT_OPERATORS"]

_END = 2**31 - 1
_MAX_REPEATS = 64


def _axis(axis: int, rank: int) -> int:
    """An axis counted from the front.

    Raises:
        Unreadable: There is none such.
    """
    if not -rank <= axis < rank:
        raise Unreadable(f"names the axis {axis} of {rank}")
    return axis % rank


def _one_integer(call: OperatorCall, index: int) -> int:
    numbers = call.known_integers(index)
    if len(numbers) != 1:
        raise Unreadable(f"has {len(numbers)} numbers as its input {index}, expected is one")
    return numbers[0]


def _rank(call: OperatorCall, index: int = 0) -> int:
    """Axes of an input, as it lies in the file."""
    return 2 if call.held(index).is_flat else len(call.shape(index))


def _reshape(call: OperatorCall) -> Held:
    target = call.known_integers(1) if call.has(1) else tuple(call.settings["new_shape"] or ())
    held, shape = call.held(), call.shape()
    if not held.is_map:
        return _reshaped(call, call.plain(), target)
    images, channels, places = call.num_images(held.name), shape[1], math.prod(shape[2:])
    if channels == 1 or places == 1:  # the order is that of the file
        return _reshaped(call, held.name, target)
    if target in ((images, channels * places), (images, -1), (-1, channels * places)):
        return Held(held.name, is_flat=True)
    return _reshaped(call, call.plain(), target)


def _reshaped(call: OperatorCall, value: str, target: tuple[int, ...]) -> Held:
    if len(target) == 4 and target[1:3] == (1, 1):
        return Held(call.one("Reshape", value, call.integers([target[axis] for axis in TO_MAP]), allowzero=1), True)
    return Held(call.one("Reshape", value, call.integers(target), allowzero=1))


def _squeeze(call: OperatorCall) -> Held:
    held, rank = call.held(), _rank(call)
    axes = tuple(sorted(_axis(axis, rank) for axis in call.settings["squeeze_dims"] or ()))
    if held.is_map and set(axes) >= {1, 2}:
        return Held(call.one("Squeeze", held.name, call.integers([MAP_AXES[axis] for axis in axes])))
    return Held(call.one("Squeeze", call.plain(), *([call.integers(axes)] if axes else [])))


def _expand_dims(call: OperatorCall) -> Held:
    return Held(call.one("Unsqueeze", call.plain(), call.integers([_one_integer(call, 1)])))


def _transpose(call: OperatorCall) -> Held:
    """A turn from one layout to the other takes nothing."""
    order, held = call.known_integers(1), call.held()
    if held.is_map and order == TO_MAP:
        return Held(held.name)
    if order == TO_FILE and call.is_variable() and not held.is_map:
        return Held(call.plain(), is_map=True)
    return Held(call.one("Transpose", call.plain(), perm=order))


def _sides(call: OperatorCall) -> tuple[str, bool, list[int]]:
    """What is padded, whether it is a map, and how much is put before all axes, then behind them."""
    numbers, held, rank = call.known_integers(1), call.held(), _rank(call)
    if len(numbers) != 2 * rank:
        raise Unreadable(f"has {len(numbers)} sides for {rank} axes")
    order = TO_MAP if held.is_map else tuple(range(rank))
    pads = [numbers[2 * axis + side] for side in (0, 1) for axis in order]
    return held.name if held.is_map else call.plain(), held.is_map, pads


def _pad(call: OperatorCall) -> Held:
    value, is_map, pads = _sides(call)
    return Held(call.one("Pad", value, call.integers(pads), *([call.plain(2)] if call.has(2) else [])), is_map)


def _mirror_pad(call: OperatorCall) -> Held:
    """Rows in reverse beside a map, without its edge (REFLECT, 0), or with it (SYMMETRIC, 1)."""
    value, is_map, pads = _sides(call)
    first, rank = 1 - call.settings["mode"], len(pads) // 2
    if first not in (0, 1) or not 0 <= min(pads) <= sum(pads) <= _MAX_REPEATS:
        raise Unreadable(f"mirrors in another mode, or more than {_MAX_REPEATS} rows")
    for axis, (before, behind) in enumerate(zip(pads[:rank], pads[rank:], strict=True)):
        size = call.walk.shape(value)[axis]
        if max(before, behind) > size - first:
            raise Unreadable(f"mirrors more than {size} rows")
        rows = [
            [first + place for place in reversed(range(before))],
            [size - 1 - first - place for place in range(behind)],
        ]
        top, bottom = ([_row(call, value, axis, place) for place in places] for places in rows)
        value = call.one("Concat", *top, value, *bottom, axis=axis) if before + behind else value
    return Held(value, is_map)


def _row(call: OperatorCall, value: str, axis: int, place: int) -> str:
    return call.one("Slice", value, *(call.integers([one]) for one in (place, place + 1, axis, 1)))


def _along(call: OperatorCall, indices: Sequence[int], axis: int) -> tuple[list[str], int, bool]:
    """Inputs in one layout, an axis of theirs, and whether they are maps."""
    rank = _rank(call, indices[0])
    axis = _axis(axis, rank)
    if rank == len(MAP_AXES) and any(call.held(index).is_map for index in indices):
        return [call.map(index) for index in indices], MAP_AXES[axis], True
    return [call.plain(index) for index in indices], axis, False


def _concatenation(call: OperatorCall) -> Held:
    names, axis, is_map = _along(call, range(call.num_inputs), call.settings["axis"])
    return Held(call.one("Concat", *names, axis=axis), is_map)


def _split(call: OperatorCall) -> list[Held]:
    (value,), axis, is_map = _along(call, [1], _one_integer(call, 0))
    size, count = call.walk.shape(value)[axis], len(call.operator.outputs)
    if size % count:
        raise Unreadable(f"splits {size} entries into {count} equal parts")
    return _parts(call, value, axis, [size // count] * count, is_map)


def _split_by_sizes(call: OperatorCall) -> list[Held]:
    (value,), axis, is_map = _along(call, [0], _one_integer(call, 2))
    sizes, whole = list(call.known_integers(1)), call.walk.shape(value)[axis]
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = whole - sum(sizes) - 1
    return _parts(call, value, axis, sizes, is_map)


def _parts(call: OperatorCall, value: str, axis: int, sizes: list[int], is_map: bool) -> list[Held]:
    names = call.several("Split", value, call.integers(sizes), count=len(call.operator.outputs), axis=axis)
    return [Held(name, is_map) for name in names]


def _pack(call: OperatorCall) -> Held:
    axis = _axis(call.settings["axis"], _rank(call) + 1)
    parts = [call.one("Unsqueeze", call.plain(index), call.integers([axis])) for index in range(call.num_inputs)]
    return Held(call.one("Concat", *parts, axis=axis))


def _unpack(call: OperatorCall) -> list[Held]:
    value, axis = call.plain(), _axis(call.settings["axis"], _rank(call))
    parts = _parts(call, value, axis, [1] * len(call.operator.outputs), False)
    return [Held(call.one("Squeeze", part.name, call.integers([axis]))) for part in parts]


def _slice(call: OperatorCall) -> Held:
    starts, sizes, rank = call.known_integers(1), call.known_integers(2), _rank(call)
    if not len(starts) == len(sizes) == rank:
        raise Unreadable(f"has {len(starts)} beginnings and {len(sizes)} sizes for {rank} axes")
    ends = [_END if size == -1 else start + size for start, size in zip(starts, sizes, strict=True)]
    return _sliced(call, starts, ends, (1,) * rank)


def _sliced(call: OperatorCall, starts: Sequence[int], ends: Sequence[int], steps: Sequence[int]) -> Held:
    """Entries of some of the axes; those that are whole are left out, as that of images."""
    held = call.held()
    cut = [
        axis
        for axis, (start, end, step) in enumerate(zip(starts, ends, steps, strict=True))
        if (start, step) != (0, 1) or end != _END
    ]
    if cut[:1] == [0] and call.is_variable() and (starts[0], ends[0], steps[0]) == (0, call.num_images(held.name), 1):
        cut = cut[1:]  # all images
    value = held.name if held.is_map else call.plain()
    if not cut:
        return Held(value, held.is_map)
    axes = [MAP_AXES[axis] if held.is_map else axis for axis in cut]
    chosen = ([one[axis] for axis in cut] for one in (starts, ends))
    lists = [call.integers(one) for one in (*chosen, axes, [steps[axis] for axis in cut])]
    return Held(call.one("Slice", value, *lists), held.is_map)


def _strided_slice(call: OperatorCall) -> Held:
    starts, ends, steps = (list(call.known_integers(index)) for index in (1, 2, 3))
    settings, rank = call.settings, _rank(call)
    if settings["ellipsis_mask"] or settings["new_axis_mask"] or settings["offset"]:
        raise Unreadable("adds axes, or leaves some out by an ellipsis")
    if settings["begin_mask"] & settings["shrink_axis_mask"]:
        raise Unreadable("takes one entry of an axis, and leaves open which")
    if not len(starts) == len(ends) == len(steps) <= rank:
        raise Unreadable(f"has {len(starts)} beginnings, {len(ends)} ends and {len(steps)} steps for {rank} axes")
    gone = []
    for axis, step in enumerate(steps):
        bit = 1 << axis
        if settings["shrink_axis_mask"] & bit:
            gone.append(axis)
            ends[axis], steps[axis] = (starts[axis] + 1 if starts[axis] != -1 else _END), 1
            continue
        if settings["begin_mask"] & bit:
            starts[axis] = 0 if step > 0 else _END
        if settings["end_mask"] & bit:
            ends[axis] = _END if step > 0 else -_END
    missing = rank - len(starts)
    held = _sliced(call, [*starts, *[0] * missing], [*ends, *[_END] * missing], [*steps, *[1] * missing])
    if not gone:
        return held
    lying = call.one("Transpose", held.name, perm=TO_FILE) if held.is_map else held.name
    return Held(call.one("Squeeze", lying, call.integers(gone)))


def _gather(call: OperatorCall) -> Held:
    if call.settings["batch_dims"]:
        raise Unreadable("picks other entries for each image")
    axis = _axis(call.settings["axis"], _rank(call))
    return Held(call.one("Gather", call.plain(), call.plain(1), axis=axis))


def _shape(call: OperatorCall) -> Held:
    held = call.held()
    if not held.is_map:
        return Held(call.one("Shape", call.plain()))
    return Held(call.one("Gather", call.one("Shape", held.name), call.integers(TO_FILE)))


def _tile(call: OperatorCall) -> Held:
    repeats, value = call.known_integers(1), call.plain()
    if not call.is_variable():
        return Held(call.one("Tile", value, call.integers(repeats)))
    if len(repeats) != len(call.walk.shape(value)) or not 0 < math.prod(repeats) <= _MAX_REPEATS or min(repeats) < 1:
        raise Unreadable(f"repeats values {list(repeats)} times; {_MAX_REPEATS} times in all is known")
    for axis, count in enumerate(repeats):
        if count > 1:
            value = call.one("Concat", *[value] * count, axis=axis)
    return Held(value)


def _broadcast(call: OperatorCall) -> Held:
    return Held(call.one("Expand", call.plain(), call.integers(call.known_integers(1))))


def _resize(mode: str) -> OperatorReader:
    def read(call: OperatorCall) -> Held:
        value, sizes, settings = call.map(), call.known_integers(1), call.settings
        num_images, channels = call.num_images(value), call.walk.shape(value)[1]
        if settings["align_corners"]:
            places = "align_corners"
        elif settings["half_pixel_centers"]:
            places = "half_pixel" if mode == "linear" else "tf_half_pixel_for_nn"
        else:
            places = "asymmetric"
        rounded = {} if mode == "linear" else {"nearest_mode": "floor"}
        if mode == "nearest" and settings["align_corners"]:
            rounded = {"nearest_mode": "round_prefer_ceil"}
        target = call.integers((num_images, channels, *sizes))
        made = call.one("Resize", value, "", "", target, mode=mode, coordinate_transformation_mode=places, **rounded)
        return Held(made, is_map=True)

    return read


def _blocks(op: str) -> OperatorReader:
    return lambda call: Held(call.one(op, call.map(), blocksize=call.settings["block_size"]), is_map=True)


def _space_to_batch(call: OperatorCall) -> Held:
    """Neighbours dealt to images of their own, as a convolution with a dilation is written for any number of images."""
    value, block, pads = call.map(), call.known_integers(1), call.known_integers(2)
    if len(block) != 2 or len(pads) != 4 or min(block) < 1 or min(pads) < 0:
        raise Unreadable("deals other axes than height and width")
    sides = call.integers((0, 0, pads[0], pads[2], 0, 0, pads[1], pads[3]))
    padded = call.one("Pad", value, sides) if any(pads) else value
    if any(size % count for size, count in zip(call.walk.shape(padded)[2:], block, strict=True)):
        raise Unreadable(f"cannot deal {list(call.walk.shape(padded)[2:])} places to blocks of {list(block)}")
    return Held(padded, is_map=True, dealt=(block[0], block[1]))


def _batch_to_space(call: OperatorCall) -> Held:
    held, block, crops = call.held(), call.known_integers(1), call.known_integers(2)
    if held.dealt != block or len(crops) != 4 or min(crops) < 0:
        raise Unreadable("joins images that SPACE_TO_BATCH_ND did not deal so")
    _, _, height, width = call.shape()
    starts, ends = (crops[0], crops[2]), (height - crops[1], width - crops[3])
    return Held(call.one("Slice", held.name, *map(call.integers, (starts, ends, (2, 3), (1, 1)))), is_map=True)


LAYOUT_OPERATORS: Mapping[str, OperatorReader] = MappingProxyType(
    {
        "RESHAPE": _reshape,
        "SQUEEZE": _squeeze,
        "EXPAND_DIMS": _expand_dims,
        "TRANSPOSE": _transpose,
        "PAD": _pad,
        "PADV2": _pad,
        "MIRROR_PAD": _mirror_pad,
        "CONCATENATION": _concatenation,
        "SPLIT": _split,
        "SPLIT_V": _split_by_sizes,
        "PACK": _pack,
        "UNPACK": _unpack,
        "SLICE": _slice,
        "STRIDED_SLICE": _strided_slice,
        "GATHER": _gather,
        "SHAPE": _shape,
        "TILE": _tile,
        "BROADCAST_TO": _broadcast,
        "RESIZE_BILINEAR": _resize("linear"),
        "RESIZE_NEAREST_NEIGHBOR": _resize("nearest"),
        "DEPTH_TO_SPACE": _blocks("DepthToSpace"),
        "SPACE_TO_DEPTH": _blocks("SpaceToDepth"),
        "SPACE_TO_BATCH_ND": _space_to_batch,
        "BATCH_TO_SPACE_ND": _batch_to_space,
    }
)
"""Name of an operator → what reads it."""
