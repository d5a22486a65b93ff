"""Computing what depends on no image: shapes, masks, tables. A small set of operations, and not too many numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from zoovet.readers.exported.values import NUM_IMAGES, Constant, Unreadable, Variable
from zoovet.readers.onnx.calls import NodeCall, Value, axes_of, joint_shape
from zoovet.readers.onnx.layout import resolved_shape

__all__ = ["CONSTANT_NODES", "SOURCE_NODES"]

_PRODUCTS_AT_ONCE = 16
"""Multiplications of a matrix product that take as long as a number that is computed otherwise."""
_INTEGERS = (2, 3, 4, 5, 6, 7, 12, 13)
_FLOATS = (1, 10, 11, 16)


def _tensors(call: NodeCall) -> list[Tensor]:
    return [call.weight(index).tensor for index in range(len(call.node.inputs))]


def _elementwise(function: Callable[..., Tensor]) -> Callable[[NodeCall], Tensor]:
    def compute(call: NodeCall) -> Tensor:
        tensors = _tensors(call)
        call.claim(math.prod(joint_shape(*(tuple(tensor.shape) for tensor in tensors))))
        return function(*tensors)

    return compute


def _divide(first: Tensor, second: Tensor) -> Tensor:
    if first.is_floating_point():
        return first / second
    if not bool(second.all()):
        raise Unreadable("divides by zero")
    return torch.div(first, second, rounding_mode="trunc")


def _remainder(call: NodeCall) -> Tensor:
    function = torch.fmod if call.attribute("fmod", 0) else torch.remainder
    if not call.weight(1).tensor.is_floating_point() and not bool(call.weight(1).tensor.all()):
        raise Unreadable("divides by zero")
    return _elementwise(function)(call)


def _scatter(call: NodeCall) -> Tensor:
    """A tensor in which entries are replaced, as a mask is by slices."""
    if call.attribute("reduction", "none") != "none":
        raise Unreadable("adds to entries rather than replacing them")
    data, indices, updates = (call.weight(index).tensor for index in range(3))
    call.claim(data.numel())
    result = data.clone()
    result[indices.unbind(-1)] = updates
    return result


def _cast(call: NodeCall) -> Tensor:
    target, tensor = call.attribute("to", kind=int), call.weight(0).tensor
    call.attribute("saturate")
    call.claim(tensor.numel())
    if target in _FLOATS:
        return tensor.float()
    if target in _INTEGERS:
        return tensor.long()
    if target == 9:
        return tensor.bool()
    raise Unreadable("makes numbers of few bits, or texts")


def _gather(call: NodeCall) -> Tensor:
    data, indices = call.weight(0), call.weight(1).tensor
    (axis,) = axes_of(data, (call.attribute("axis", 0),))
    size = data.tensor.shape[axis]
    if indices.is_floating_point() or bool(((indices < -size) | (indices >= size)).any()):
        raise Unreadable(f"picks entries that are not among the {size}")
    before, behind = data.tensor.shape[:axis], data.tensor.shape[axis + 1 :]
    shape = (*before, *indices.shape, *behind)
    call.claim(math.prod(shape))
    return data.tensor.index_select(axis, (indices % max(1, size)).flatten()).reshape(shape)


def _concat(call: NodeCall) -> Tensor:
    tensors = _tensors(call)
    call.claim(sum(tensor.numel() for tensor in tensors))
    return torch.cat(tensors, axes_of(call.weight(0), (call.attribute("axis", 0, int),))[0])


def _reshape(call: NodeCall) -> Tensor:
    tensor, target = call.weight(0).tensor, call.integers(1) or ()
    return tensor.reshape(resolved_shape(tuple(tensor.shape), target, bool(call.attribute("allowzero", 0))))


def _flatten(call: NodeCall) -> Tensor:
    tensor, axis = call.weight(0).tensor, call.attribute("axis", 1)
    axis += tensor.ndim if axis < 0 else 0
    return tensor.reshape(math.prod(tensor.shape[:axis]), -1)


def _unsqueeze(call: NodeCall) -> Tensor:
    tensor, axes = call.weight(0).tensor, call.axes(1, 13) or ()
    rank = tensor.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        tensor = tensor.unsqueeze(axis)
    return tensor


def _squeeze(call: NodeCall) -> Tensor:
    constant, axes = call.weight(0), call.axes(1, 13)
    return constant.tensor.squeeze() if axes is None else constant.tensor.squeeze(axes_of(constant, axes))


def _transpose(call: NodeCall) -> Tensor:
    constant = call.weight(0)
    call.claim(constant.tensor.numel())
    order = call.ints("perm") or tuple(reversed(range(constant.tensor.ndim)))
    return constant.tensor.permute(axes_of(constant, order)).contiguous()


def _slice(call: NodeCall) -> Tensor:
    constant = call.weight(0)
    if call.opset >= 10:
        starts, ends, axes, steps = (call.integers(index) for index in (1, 2, 3, 4))
    else:
        starts, ends, axes, steps = call.ints("starts"), call.ints("ends"), call.ints("axes"), None
    starts, ends = starts or (), ends or ()
    axes, steps = axes or tuple(range(len(starts))), steps or (1,) * len(starts)
    tensor = constant.tensor
    for axis, start, end, step in zip(axes_of(constant, axes), starts, ends, steps, strict=True):
        if step == 0:
            raise Unreadable("has a step of 0")
        chosen = torch.tensor(range(*slice(start, end, step).indices(tensor.shape[axis])), dtype=torch.int64)
        call.claim(tensor.numel())
        tensor = tensor.index_select(axis, chosen)
    return tensor


def _split(call: NodeCall) -> list[Tensor]:
    constant = call.weight(0)
    (axis,) = axes_of(constant, (call.attribute("axis", 0),))
    sizes = call.integers(1) if call.opset >= 13 else call.ints("split")
    num_pieces, size = call.attribute("num_outputs", len(call.node.outputs)), constant.tensor.shape[axis]
    return list(constant.tensor.split(list(sizes) if sizes else max(1, -(-size // max(1, num_pieces))), axis))


def _expand(call: NodeCall) -> Value:
    constant, target = call.weight(0), call.integers(1) or ()
    shape = joint_shape(tuple(constant.tensor.shape), target)
    if call.values.batch is None and any(size and size % NUM_IMAGES == 0 for size in shape):
        return call.writer.variable(constant, shape)
    call.claim(math.prod(shape))
    return Constant(constant.tensor.expand(shape).contiguous(), "", constant.is_learned)


def _tile(call: NodeCall) -> Value:
    constant, repeats = call.weight(0), call.integers(1) or ()
    sizes = tuple(constant.tensor.shape)
    if len(repeats) != len(sizes) or any(count < 0 for count in repeats):
        raise Unreadable(f"repeats {list(repeats)} times what has the shape {list(sizes)}")
    shape = tuple(size * count for size, count in zip(sizes, repeats, strict=True))
    depends = [call.values.batch is None and count > 0 and count % NUM_IMAGES == 0 for count in repeats]
    own = [1 if each else count for each, count in zip(depends, repeats, strict=True)]
    call.claim(math.prod(size * count for size, count in zip(sizes, own, strict=True)))
    tiled = Constant(constant.tensor.repeat(own), "", constant.is_learned)
    return call.writer.variable(tiled, shape) if any(depends) else tiled


def _filled(call: NodeCall) -> Value:
    shape, value = call.integers(0) or (), call.attribute("value", kind=Constant)
    if any(size < 0 for size in shape):
        raise Unreadable(f"has the shape {list(shape)}, which is none")
    number = torch.zeros(1) if value is None else value.tensor.reshape(-1)[:1]
    if call.values.batch is None and any(size and size % NUM_IMAGES == 0 for size in shape):
        return call.writer.variable(Constant(number.float().reshape((1,) * len(shape))), shape)
    call.claim(math.prod(shape))
    return Constant(number.expand(math.prod(shape)).reshape(shape).clone())


def _range(call: NodeCall) -> Tensor:
    start, limit, delta = _tensors(call)
    numbers = [tensor.item() for tensor in (start, limit, delta)]
    if not numbers[2] or not all(math.isfinite(number) for number in numbers):
        raise Unreadable("has a step of 0, or bounds that are none")
    count = max(0, math.ceil((numbers[1] - numbers[0]) / numbers[2]))
    call.claim(count)
    return start + torch.arange(count, dtype=start.dtype) * delta


def _reduction(function: Callable[..., Tensor], since: int = 18) -> Callable[[NodeCall], Tensor]:
    """A mean, sum, …, axis by axis; its axes are an input since an opset."""

    def compute(call: NodeCall) -> Tensor:
        constant, axes = call.weight(0), call.axes(1, since)
        kept, tensor = bool(call.attribute("keepdims", 1)), constant.tensor
        if call.attribute("noop_with_empty_axes", 0) and not axes:
            return tensor
        for axis in sorted(axes_of(constant, axes) if axes else range(tensor.ndim), reverse=True):
            tensor = function(tensor, axis, keepdim=kept)
        return tensor

    return compute


def _gather_nd(call: NodeCall) -> Tensor:
    """Entries by tables of their places along the first axes."""
    data, indices = call.weight(0).tensor, call.weight(1).tensor
    if call.attribute("batch_dims", 0) or indices.is_floating_point() or not indices.ndim > 0:
        raise Unreadable("picks entries by tables that differ from one to another")
    count = indices.shape[-1]
    sizes = torch.tensor(data.shape[:count])
    if not 0 < count <= data.ndim or bool(((indices < -sizes) | (indices >= sizes)).any()):
        raise Unreadable(f"picks entries that are not among {list(data.shape)}")
    call.claim(math.prod(indices.shape[:-1]) * math.prod(data.shape[count:]))
    picked: Tensor = data[indices.unbind(-1)]
    return picked


def _batch_norm(call: NodeCall) -> Tensor:
    """Of weights, which some networks normalize before they use them."""
    call.attribute("momentum")
    value, scale, offset, mean, variance = _tensors(call)
    if call.attribute("training_mode", 0) or value.ndim < 2:
        raise Unreadable("is in training mode, or reads no channels")
    if {tuple(one.shape) for one in (scale, offset, mean, variance)} != {(value.shape[1],)}:
        raise Unreadable(f"does not have a number for each of {value.shape[1]} channels")
    call.claim(value.numel())
    along = (1, -1, *(1,) * (value.ndim - 2))
    factor = scale / (variance + call.attribute("epsilon", 1e-5)).sqrt()
    normalized: Tensor = (value - mean.reshape(along)) * factor.reshape(along) + offset.reshape(along)
    return normalized


def _multiplied(call: NodeCall, first: Tensor, second: Tensor) -> Tensor:
    """Two matrices' product, or those of several."""
    if min(first.ndim, second.ndim) < 2:
        raise Unreadable("multiplies by a vector")
    leading = joint_shape(tuple(first.shape[:-2]), tuple(second.shape[:-2]))
    count = math.prod(leading) * first.shape[-2] * second.shape[-1]
    call.claim(max(count, count * first.shape[-1] // _PRODUCTS_AT_ONCE))
    return torch.matmul(first, second)


def _product(call: NodeCall) -> Tensor:
    first, second = _tensors(call)
    return _multiplied(call, first, second)


def _gemm(call: NodeCall) -> Tensor:
    first, second, *offset = _tensors(call)
    first = first.T if call.attribute("transA", 0) else first
    second = second.T if call.attribute("transB", 0) else second
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    product: Tensor = alpha * _multiplied(call, first, second)
    if offset and joint_shape(tuple(product.shape), tuple(offset[0].shape)) != tuple(product.shape):
        raise Unreadable(f"adds {list(offset[0].shape)} numbers to {list(product.shape)}")
    return product + beta * offset[0] if offset else product


def _where(condition: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return torch.where(condition.bool(), first, second)


def _all_of(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def compute(first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = function(first, other)
        return first

    return compute


def _shape(call: NodeCall) -> Constant:
    value = call.value(0)
    shape = call.shape_in_file(value) if isinstance(value, Variable) else tuple(value.tensor.shape)
    start, end = call.attribute("start", 0), call.attribute("end", len(shape))
    return Constant(torch.tensor(shape[slice(start, end)], dtype=torch.int64))


def _size(call: NodeCall) -> Constant:
    value = call.value(0)
    shape = call.shape_in_file(value) if isinstance(value, Variable) else tuple(value.tensor.shape)
    return Constant(torch.tensor(math.prod(shape), dtype=torch.int64))


def _constant(call: NodeCall) -> Constant:
    value = call.attribute("value", kind=Constant)
    if value is not None:
        assert isinstance(value, Constant)
        return value
    for name, dtype in (
        ("value_float", torch.float32),
        ("value_floats", torch.float32),
        ("value_int", torch.int64),
        ("value_ints", torch.int64),
    ):
        number = call.attribute(name)
        if number is not None:
            return Constant(torch.tensor(number, dtype=dtype))
    raise Unreadable("holds no dense numbers")


SOURCE_NODES: Mapping[str, Callable[[NodeCall], Any]] = MappingProxyType(
    {"Constant": _constant, "Shape": _shape, "Size": _size}
)
"""ONNX's name → what gives a constant, whatever the node reads."""

CONSTANT_NODES: Mapping[str, Callable[[NodeCall], Any]] = MappingProxyType(
    {
        "Identity": lambda call: call.weight(0),
        "Dropout": lambda call: call.weight(0),
        "Cast": _cast,
        "Gather": _gather,
        "Concat": _concat,
        "Reshape": _reshape,
        "Flatten": _flatten,
        "Unsqueeze": _unsqueeze,
        "Squeeze": _squeeze,
        "Transpose": _transpose,
        "Slice": _slice,
        "Split": _split,
        "Expand": _expand,
        "Tile": _tile,
        "ConstantOfShape": _filled,
        "Range": _range,
        "GatherND": _gather_nd,
        "MatMul": _product,
        "Gemm": _gemm,
        "Relu": _elementwise(torch.relu),
        "BatchNormalization": _batch_norm,
        "ReduceProd": _reduction(torch.prod),
        "ReduceMean": _reduction(torch.mean),
        "ReduceSum": _reduction(torch.sum, 13),
        "ReduceMax": _reduction(torch.amax),
        "ReduceMin": _reduction(torch.amin),
        "Add": _elementwise(torch.add),
        "Sub": _elementwise(torch.sub),
        "Mul": _elementwise(torch.mul),
        "Div": _elementwise(_divide),
        "Mod": _remainder,
        "ScatterND": _scatter,
        "Pow": _elementwise(torch.pow),
        "Min": _elementwise(_all_of(torch.minimum)),
        "Max": _elementwise(_all_of(torch.maximum)),
        "Neg": _elementwise(torch.neg),
        "Abs": _elementwise(torch.abs),
        "Sqrt": _elementwise(torch.sqrt),
        "Exp": _elementwise(torch.exp),
        "Log": _elementwise(torch.log),
        "Sin": _elementwise(torch.sin),
        "Cos": _elementwise(torch.cos),
        "Tanh": _elementwise(torch.tanh),
        "Sigmoid": _elementwise(torch.sigmoid),
        "Erf": _elementwise(torch.erf),
        "Sign": _elementwise(torch.sign),
        "Round": _elementwise(torch.round),
        "Reciprocal": _elementwise(torch.reciprocal),
        "Floor": _elementwise(torch.floor),
        "Ceil": _elementwise(torch.ceil),
        "Not": _elementwise(torch.logical_not),
        "Equal": _elementwise(torch.eq),
        "Greater": _elementwise(torch.gt),
        "Less": _elementwise(torch.lt),
        "GreaterOrEqual": _elementwise(torch.ge),
        "LessOrEqual": _elementwise(torch.le),
        "And": _elementwise(torch.logical_and),
        "Or": _elementwise(torch.logical_or),
        "Where": _elementwise(_where),
    }
)
"""ONNX's name → what computes it where nothing that it reads depends on the images."""
