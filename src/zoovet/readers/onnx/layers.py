"""Reading nodes of layers: convolutions, products, norms, poolings, reductions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from zoovet.readers.exported.values import Constant, Unreadable, Variable
from zoovet.readers.onnx.calls import (
    Layer,
    NodeCall,
    NodeReader,
    axes_of,
    joint_shape,
    shape_of,
)
from zoovet.readers.onnx.elementwise import combine, write_layer

__all__ = ["LAYER_NODES"]


def _window(call: NodeCall, value: Variable, kernel: tuple[int, ...]) -> dict[str, Any]:
    """Kernel, stride, padding and dilation of what slides over maps."""
    if len(value.shape) != 4 or not value.is_plain or len(kernel) != 2:
        raise Unreadable(f"slides over {len(value.shape) - 2} axes; only over height and width is known")
    strides, dilations = call.ints("strides") or (1, 1), call.ints("dilations") or (1, 1)
    if len(strides) != 2 or len(dilations) != 2 or min(*strides, *dilations) < 1:
        raise Unreadable("has strides or dilations that are none")
    pads, auto = call.ints("pads"), call.attribute("auto_pad", "NOTSET")
    if auto == "NOTSET":
        padding = pads or (0, 0, 0, 0)
    elif auto == "VALID":
        padding = (0, 0, 0, 0)
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        padding = _same_padding(value.shape[2:], kernel, strides, dilations, auto == "SAME_UPPER")
    else:
        raise Unreadable("has an unknown auto_pad")
    if min(padding) < 0:
        raise Unreadable("has a negative padding")
    return {"kernel": kernel, "stride": strides, "padding": padding, "dilation": dilations}


def _same_padding(
    sizes: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], upper: bool
) -> tuple[int, ...]:
    """(top, left, bottom, right) so that a map comes out in its size over the stride; the odd one below where upper."""
    before, behind = [], []
    for size, window, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + dilation * (window - 1) + 1 - size)
        before.append(total // 2 if upper else total - total // 2)
        behind.append(total - before[-1])
    return (*before, *behind)


def _convolution(call: NodeCall) -> Variable:
    value, weight = call.variable(), call.weight(1)
    kernel = tuple(weight.tensor.shape[2:])
    if call.ints("kernel_shape") not in (None, kernel):
        raise Unreadable(f"names another kernel than its weight's, {list(kernel)}")
    if len(kernel) == 1 and call.attribute("auto_pad", "NOTSET") == "NOTSET":
        return _convolution_along_one_axis(call, value, weight)
    window = _window(call, value, kernel)
    attributes = {name: window[name] for name in ("stride", "padding", "dilation")}
    return write_layer(
        call, Layer("conv2d", value, weight, {**attributes, "groups": call.attribute("group", 1)}), call.constant(2)
    )


def _convolution_along_one_axis(call: NodeCall, value: Variable, weight: Constant) -> Variable:
    result: Variable = call.aten(
        "conv1d",
        input=value,
        weight=weight,
        bias=call.constant(2),
        stride=call.ints("strides") or (1,),
        padding=call.ints("pads") or (0, 0),
        dilation=call.ints("dilations") or (1,),
        groups=call.attribute("group", 1),
    )
    return result


def _linear(call: NodeCall, value: Variable, weight: Constant, bias: Constant | None) -> Variable:
    value.site_axis(-1)
    return write_layer(call, Layer("linear", value, weight, {}), bias)


def _transposed(weight: Constant) -> Constant:
    return Constant(weight.tensor.transpose(0, 1).contiguous(), is_learned=weight.is_learned)


def _scaled(constant: Constant, factor: float) -> Constant:
    return constant if factor == 1 else Constant(constant.tensor * factor, is_learned=constant.is_learned)


def _gemm(call: NodeCall) -> Any:
    value, weight = call.variable(), call.weight(1)
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    if call.attribute("transA", 0):
        value = call.writer.permute(value, (1, 0))
    if len(value.shape) != 2 or weight.tensor.ndim != 2:
        raise Unreadable("multiplies what are no matrices")
    weight = _scaled(weight if call.attribute("transB", 0) else _transposed(weight), alpha)
    num_outputs = weight.tensor.shape[0]
    if not call.has(2) or beta == 0:
        return _linear(call, value, weight, None)
    offset = call.value(2)
    if isinstance(offset, Constant):
        offset = _scaled(offset, beta)
        if offset.tensor.numel() in (1, num_outputs) and shape_of(offset)[:-1] in ((), (1,)):
            spread = offset.tensor.reshape(-1).expand(num_outputs).contiguous()
            kept = tuple(spread.shape) == tuple(offset.tensor.shape)
            return _linear(call, value, weight, offset if kept else Constant(spread, "", True))
    elif beta != 1:
        offset = call.step("mul_scalar", offset, scalar=beta)
    return combine(call, "add", _linear(call, value, weight, None), offset)


def _matmul(call: NodeCall) -> Any:
    first, second = call.value(0), call.value(1)
    if isinstance(first, Variable) and isinstance(second, Constant) and len(first.shape) > 1:
        *leading, rows, columns = (1, 1, *second.tensor.shape)[-max(2, second.tensor.ndim) :]
        if set(leading) <= {1} and 2 <= second.tensor.ndim <= len(first.shape):
            matrix = second if not leading else Constant(second.tensor.reshape(rows, columns), "", second.is_learned)
            return _linear(call, first, _transposed(matrix), None)
    if min(len(shape_of(first)), len(shape_of(second))) < 2:
        raise Unreadable("multiplies by a vector")
    leading_shape = joint_shape(shape_of(first)[:-2], shape_of(second)[:-2])
    return call.aten("matmul", (*leading_shape, shape_of(first)[-2], shape_of(second)[-1]), self=first, other=second)


def _batch_norm(call: NodeCall) -> Any:
    if call.attribute("training_mode", 0) or len([name for name in call.node.outputs if name]) > 1:
        raise Unreadable("is in training mode, so what it computes depends on the batch")
    if call.attribute("spatial", 1) != 1:
        raise Unreadable("has numbers for each place of a map")
    call.attribute("momentum")
    value, eps = call.variable(), call.attribute("epsilon", 1e-5)
    weight, bias = call.weight(1), call.weight(2)
    mean, variance = (Constant(one.tensor, one.name) for one in (call.weight(3), call.weight(4)))
    return call.aten(
        "batch_norm", input=value, weight=weight, bias=bias, running_mean=mean, running_var=variance, eps=eps
    )


def _instance_norm(call: NodeCall) -> Any:
    value, eps = call.variable(), call.attribute("epsilon", 1e-5)
    return call.aten(
        "instance_norm", input=value, weight=call.weight(1), bias=call.weight(2), use_input_stats=True, eps=eps
    )


def _group_norm(call: NodeCall) -> Any:
    value, groups = call.variable(), call.attribute("num_groups", kind=int)
    call.attribute("stash_type")
    if not groups or len(value.shape) < 2 or value.shape[1] % groups:
        raise Unreadable("has groups that its channels cannot be dealt to")
    weight, bias = call.weight(1), call.weight(2)
    if call.opset < 21 and groups != value.shape[1]:  # a number for each group then
        weight, bias = (_repeated(one, value.shape[1] // groups) for one in (weight, bias))
    eps = call.attribute("epsilon", 1e-5)
    return call.aten("group_norm", input=value, num_groups=groups, weight=weight, bias=bias, eps=eps)


def _repeated(constant: Constant, times: int) -> Constant:
    return Constant(constant.tensor.repeat_interleave(times), is_learned=constant.is_learned)


def _layer_norm(call: NodeCall) -> Any:
    value, eps = call.variable(), call.attribute("epsilon", 1e-5)
    (axis,) = axes_of(value, (call.attribute("axis", -1),))
    if call.attribute("stash_type", 1) != 1:
        raise Unreadable("calculates in another precision than float32")
    normalized = value.shape[axis:]
    weight, bias = (_spread(call.constant(index), normalized) for index in (1, 2))
    return call.aten("layer_norm", input=value, normalized_shape=normalized, weight=weight, bias=bias, eps=eps)


def _spread(constant: Constant | None, shape: tuple[int, ...]) -> Constant | None:
    if constant is None or tuple(constant.tensor.shape) == shape:
        return constant
    if joint_shape(tuple(constant.tensor.shape), shape) != shape:
        raise Unreadable(f"has weights of {list(constant.tensor.shape)} for {list(shape)}")
    return Constant(constant.tensor.expand(shape).contiguous(), is_learned=constant.is_learned)


def _pooling(op: str) -> NodeReader:
    def read(call: NodeCall) -> Variable:
        value, kernel = call.variable(), call.ints("kernel_shape") or ()
        if op == "avg_pool2d" and len(kernel) == 3:
            return _channel_means(call, value, kernel)
        window = _window(call, value, kernel)
        attributes = {
            "kernel_size": kernel,
            "stride": window["stride"],
            "padding": window["padding"],
            "ceil_mode": bool(call.attribute("ceil_mode", 0)) and call.attribute("auto_pad", "NOTSET") == "NOTSET",
        }
        if op == "max_pool2d":
            call.attribute("storage_order")
            attributes["dilation"] = window["dilation"]
        else:
            attributes["count_include_pad"] = bool(call.attribute("count_include_pad", 0))
            if window["dilation"] != (1, 1):
                raise Unreadable("has a dilation")
        padding = window["padding"]
        if attributes["ceil_mode"] and padding[:2] != padding[2:]:
            return _uneven(call, op, value, attributes)
        return call.made(value, call.writer.add(op, value.site, **attributes))

    return read


def _channel_means(call: NodeCall, value: Variable, kernel: tuple[int, ...]) -> Variable:
    """An average over three axes, as older exporters write that of neighbouring channels."""
    dilations, ceil_mode = call.ints("dilations") or (1, 1, 1), bool(call.attribute("ceil_mode", 0))
    if set(dilations) != {1} or call.attribute("auto_pad", "NOTSET") != "NOTSET":
        raise Unreadable("pools over three axes at once")
    call.attribute("count_include_pad", 0)  # there is none
    strides, pads = call.ints("strides") or (1, 1, 1), call.ints("pads") or (0,)
    result: Variable = call.aten(
        "avg_pool3d", self=value, kernel_size=kernel, stride=strides, padding=pads, ceil_mode=ceil_mode
    )
    return result


def _local_response_norm(call: NodeCall) -> Variable:
    """X / (bias + alpha · mean of squares over ``size`` neighbouring channels, zeros beyond the last) ** beta."""
    value, size = call.variable(), call.attribute("size", kind=int)
    if len(value.shape) != 4 or not value.is_plain or not size or size < 1:
        raise Unreadable("reads no map of channels, height and width, or has no size")
    num, channels, height, width = value.shape
    squares = call.made(value, call.writer.add("mul", value.site, value.site))
    stacked = call.writer.reshape(squares, (num, 1, channels, height, width))
    sides = [0, 0, 0, 0, (size - 1) // 2, size // 2]
    padded = call.aten("pad", self=stacked, pad=sides, mode="constant", value=0.0)
    means = call.aten(
        "avg_pool3d", self=padded, kernel_size=(size, 1, 1), stride=(1, 1, 1), padding=(0,), ceil_mode=False
    )
    scaled = call.step("mul_scalar", call.writer.reshape(means, value.shape), scalar=call.attribute("alpha", 1e-4))
    shifted = call.step("add_scalar", scaled, scalar=call.attribute("bias", 1.0))
    divisor = call.step("pow", shifted, exponent=call.attribute("beta", 0.75))
    return call.made(value, call.writer.add("div", value.site, divisor.site))


def _uneven(call: NodeCall, op: str, value: Variable, attributes: dict[str, Any]) -> Variable:
    """Rounding up with uneven padding, where it is the same as rounding down."""
    for axis in (0, 1):
        span = attributes.get("dilation", (1, 1))[axis] * (attributes["kernel_size"][axis] - 1) + 1
        padded = value.shape[2 + axis] + attributes["padding"][axis] + attributes["padding"][axis + 2]
        if (padded - span) % attributes["stride"][axis]:
            raise Unreadable("rounds up with uneven padding")
    return call.made(value, call.writer.add(op, value.site, **{**attributes, "ceil_mode": False}))


def _global(op: str, reduction: str) -> NodeReader:
    def read(call: NodeCall) -> Variable:
        value = call.variable()
        if len(value.shape) == 4 and value.is_plain:
            return call.made(value, call.writer.add(op, value.site, output_size=(1, 1)))
        axes = list(range(2, len(value.shape)))
        result: Variable = call.aten(reduction, self=value, dim=axes, keepdim=True)
        return result

    return read


def _reduction(op: str, since: int) -> NodeReader:
    """A mean, sum or maximum; its axes are an input since an opset."""

    def read(call: NodeCall) -> Any:
        value, axes = call.variable(), call.axes(1, since)
        kept = bool(call.attribute("keepdims", 1))
        if not axes:
            if call.attribute("noop_with_empty_axes", 0):
                return value
            raise Unreadable("works across images")
        call.attribute("noop_with_empty_axes", 0)
        return call.aten(op, self=value, dim=axes_of(value, axes), keepdim=kept)

    return read


def _norm(order: int) -> NodeReader:
    def read(call: NodeCall) -> Any:
        value, axes = call.variable(), call.axes(1, 18)
        if not axes or call.attribute("noop_with_empty_axes", 0):
            raise Unreadable("works across images")
        kept = bool(call.attribute("keepdims", 1))
        return call.aten("norm", self=value, p=order, dim=axes_of(value, axes), keepdim=kept)

    return read


LAYER_NODES: Mapping[str, NodeReader] = MappingProxyType(
    {
        "Conv": _convolution,
        "Gemm": _gemm,
        "MatMul": _matmul,
        "BatchNormalization": _batch_norm,
        "InstanceNormalization": _instance_norm,
        "GroupNormalization": _group_norm,
        "LayerNormalization": _layer_norm,
        "LRN": _local_response_norm,
        "MaxPool": _pooling("max_pool2d"),
        "AveragePool": _pooling("avg_pool2d"),
        "GlobalAveragePool": _global("adaptive_avg_pool2d", "mean"),
        "GlobalMaxPool": _global("adaptive_max_pool2d", "amax"),
        "ReduceMean": _reduction("mean", 18),
        "ReduceSum": _reduction("sum", 13),
        "ReduceMax": _reduction("amax", 18),
        "ReduceL1": _norm(1),
        "ReduceL2": _norm(2),
    }
)
"""ONNX's name → what reads it where it depends on the images."""
