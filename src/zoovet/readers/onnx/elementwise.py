"""Reading nodes that work on each number alone, or on tensors number by number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from zoovet.readers.exported.values import Constant, Unreadable, Variable
from zoovet.readers.onnx.calls import (
    Layer,
    NodeCall,
    NodeReader,
    Value,
    joint_shape,
    shape_of,
)

__all__ = ["ELEMENTWISE_NODES", "combine", "write_layer"]

_SELU = (1.6732632423543772, 1.0507009873554805)
_FLOATS = (1, 10, 11, 16)
"""ONNX's numbers of float, float16, double and bfloat16."""


def _same(op: str) -> NodeReader:
    return lambda call: call.step(op, call.variable())


def _with_numbers(op: str, **attributes: tuple[str, float]) -> NodeReader:
    """An operation with settings: their name in the vocabulary → name and default in ONNX."""
    return lambda call: call.step(
        op, call.variable(), **{ours: call.attribute(name, default) for ours, (name, default) in attributes.items()}
    )


def _selu(call: NodeCall) -> Variable:
    given = (call.attribute("alpha", _SELU[0]), call.attribute("gamma", _SELU[1]))
    if not all(math.isclose(one, other, rel_tol=1e-5) for one, other in zip(given, _SELU, strict=True)):
        raise Unreadable("has other constants than SELU's")
    return call.step("selu", call.variable())


def _celu(call: NodeCall) -> Variable:
    alpha = call.attribute("alpha", 1.0)
    if not alpha:
        raise Unreadable("has an alpha of 0")
    inner = call.step("mul_scalar", call.variable(), scalar=1 / alpha) if alpha != 1 else call.variable()
    outer = call.step("elu", inner)
    return call.step("mul_scalar", outer, scalar=alpha) if alpha != 1 else outer


def _hard_sigmoid(call: NodeCall) -> Variable:
    alpha, beta, value = call.attribute("alpha", 0.2), call.attribute("beta", 0.5), call.variable()
    if math.isclose(alpha, 1 / 6, rel_tol=1e-5) and beta == 0.5:
        return call.step("hardsigmoid", value)
    line = call.step("add_scalar", call.step("mul_scalar", value, scalar=alpha), scalar=beta)
    return call.step("clamp", line, min=0.0, max=1.0)


def _softsign(call: NodeCall) -> Variable:
    value = call.variable()
    below = call.step("add_scalar", call.step("abs", value), scalar=1.0)
    return call.made(value, call.writer.add("div", value.site, below.site))


def _swish(call: NodeCall) -> Variable:
    alpha, value = call.attribute("alpha", 1.0), call.variable()
    if alpha == 1:
        return call.step("silu", value)
    gate = call.step("sigmoid", call.step("mul_scalar", value, scalar=alpha))
    return call.made(value, call.writer.add("mul", value.site, gate.site))


def _gelu(call: NodeCall) -> Variable:
    return call.step("gelu", call.variable(), approximate=call.attribute("approximate", "none"))


def _prelu(call: NodeCall) -> Variable:
    value, slope = call.variable(), call.weight(1)
    shape = tuple(slope.tensor.shape)
    aligned = (*(1,) * (len(value.shape) - len(shape)), *shape)
    if len(aligned) != len(value.shape) or any(size != 1 for axis, size in enumerate(aligned) if axis != 1):
        raise Unreadable(f"has slopes of {list(shape)}; only one, or one for each channel, is known")
    flat = slope if len(shape) == 1 else Constant(slope.tensor.reshape(-1), is_learned=slope.is_learned)
    result: Variable = call.aten("prelu", self=value, weight=flat)
    return result


def _clip(call: NodeCall) -> Variable:
    if call.opset < 11:
        least, most = call.attribute("min", kind=float), call.attribute("max", kind=float)
    else:
        least, most = call.number(1), call.number(2)
    # The whole range of float32 is what older exporters write for "none".
    bounds = [None if bound is None or abs(bound) > 3e38 else bound for bound in (least, most)]
    if bounds == [None, None]:
        return call.variable()
    result: Variable = call.aten("clamp", self=call.variable(), min=bounds[0], max=bounds[1])
    return result


def _pow(call: NodeCall) -> Variable:
    exponent = call.number(1)
    if exponent is None:
        raise Unreadable("lacks its exponent")
    return call.variable() if exponent == 1 else call.step("pow", call.variable(), exponent=exponent)


def _softmax(op: str) -> NodeReader:
    def read(call: NodeCall) -> Variable:
        value = call.variable()
        axis = call.attribute("axis", -1 if call.opset >= 13 else 1)
        if not -len(value.shape) <= axis < len(value.shape):
            raise Unreadable(f"names the axis {axis} of {len(value.shape)}")
        axis %= len(value.shape)
        behind = value.shape[axis + 1 :]
        if call.opset >= 13 or math.prod(behind) == 1:
            return call.step(op, value, dim=value.site_axis(axis))
        # Before opset 13 all axes from this one on are one.
        flat = call.writer.reshape(value, (*value.shape[:axis], math.prod(value.shape[axis:])))
        return call.writer.reshape(call.step(op, flat, dim=flat.site_axis(axis)), value.shape)

    return read


def _binary(op: str) -> NodeReader:
    def read(call: NodeCall) -> Value:
        if len(call.node.inputs) == 2:
            return combine(call, op, call.value(0), call.value(1))
        result = call.value(0)
        for index in range(1, len(call.node.inputs)):
            result = combine(call, op, result, call.value(index))
        return result

    return read


def _mean(call: NodeCall) -> Variable:
    total = _binary("add")(call)
    assert isinstance(total, Variable)
    return call.step("mul_scalar", total, scalar=1 / len(call.node.inputs))


_FOLDED: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}


def combine(call: NodeCall, op: str, first: Value, second: Value) -> Value:
    """Two operands put together, of which one may be a constant, or both."""
    if isinstance(first, Constant) and isinstance(second, Constant):
        joint_shape(shape_of(first), shape_of(second))
        return Constant(_FOLDED[op](first.tensor, second.tensor), "", first.is_learned or second.is_learned)
    if isinstance(first, Constant) and isinstance(second, Variable):
        first = call.for_one_image(first, second)
    elif isinstance(second, Constant) and isinstance(first, Variable):
        second = call.for_one_image(second, first)
    shape = joint_shape(shape_of(first), shape_of(second))
    if op == "add":
        biased = _biased(call, first, second) or _biased(call, second, first)
        if biased is not None:
            return biased
    operands = [_number_or_tensor(operand, len(shape)) for operand in (first, second)]
    result: Variable = call.aten(op, shape, self=operands[0], other=operands[1])
    return result


def _where(call: NodeCall) -> Value:
    """One of two values, by a constant mask."""
    mask = call.weight(0).tensor.bool()
    parts = [_masked(call, call.value(index), one) for index, one in ((1, mask), (2, ~mask))]
    kept = [part for part in parts if isinstance(part, Variable) or bool(part.tensor.any())]
    return kept[0] if len(kept) == 1 else combine(call, "add", *parts)


def _masked(call: NodeCall, value: Value, mask: Tensor) -> Value:
    """A value with zeros in all other places than a mask's.

    Raises:
        Unreadable: It is a constant that is not finite in some of these, as of masks in attention.
    """
    if isinstance(value, Variable):
        return combine(call, "mul", value, Constant(mask.float()))
    call.claim(math.prod(joint_shape(tuple(value.tensor.shape), tuple(mask.shape))))
    masked = torch.where(mask, value.tensor, torch.zeros((), dtype=value.tensor.dtype))
    if not bool(masked.isfinite().all()):
        raise Unreadable("puts numbers that are not finite beside values that depend on the images")
    return Constant(masked, is_learned=value.is_learned)


def _number_or_tensor(operand: Value, num_axes: int) -> Any:
    """A number where a constant holds one and adds no axes."""
    if isinstance(operand, Constant) and operand.tensor.numel() == 1 and operand.tensor.ndim <= num_axes:
        return float(operand.tensor.item())
    return operand


def _biased(call: NodeCall, value: Value, bias: Value) -> Variable | None:
    """The layer with a bias, where it has none yet, nobody else reads it, and the constant has a number an output."""
    if not isinstance(value, Variable) or not isinstance(bias, Constant):
        return None
    layer = call.values.layers.get(value.site)
    names = [name for name in call.node.inputs if call.values.by_name.get(name) is value]
    if layer is None or not names or call.values.num_readers[names[0]] > 1:
        return None
    num_outputs = layer.weight.tensor.shape[0]
    core = (num_outputs, 1, 1) if layer.op == "conv2d" else (num_outputs,)
    own = tuple(bias.tensor.shape)
    aligned = (*(1,) * (len(value.shape) - len(own)), *own)
    if bias.tensor.numel() != num_outputs or len(aligned) != len(value.shape) or aligned[-len(core) :] != core:
        return None
    flat = bias if bias.tensor.ndim == 1 else Constant(bias.tensor.reshape(-1), is_learned=bias.is_learned)
    site = write_layer(call, Layer(layer.op, layer.value, layer.weight, layer.attributes), flat).site
    return value.like(site, value.shape)  # which may count images along another axis than the layer's own result


def write_layer(call: NodeCall, layer: Layer, bias: Constant | None) -> Variable:
    """Write a convolution or a product; one without a bias is remembered, as it may get one."""
    parameters = {"weight": layer.weight, "bias": bias}
    site = call.writer.add(layer.op, layer.value.site, parameters=parameters, **layer.attributes)
    if bias is None:
        call.values.layers[site] = layer
    return call.made(layer.value, site)


def _cast(call: NodeCall) -> Variable:
    target = call.attribute("to", kind=int)
    for name in ("saturate", "round_mode"):
        call.attribute(name)
    if target not in _FLOATS:
        raise Unreadable("turns numbers that depend on the images into whole numbers or others of few bits")
    return call.variable()


def _dropout(call: NodeCall) -> Variable:
    for name in ("seed", "ratio"):
        call.attribute(name)
    training = call.constant(2)
    if training is not None and bool(training.tensor.any()):
        raise Unreadable("drops numbers in evaluation mode too")
    return call.variable()


ELEMENTWISE_NODES: Mapping[str, NodeReader] = MappingProxyType(
    {
        **{
            name: _same(op)
            for name, op in {
                "Relu": "relu",
                "HardSwish": "hardswish",
                "Sigmoid": "sigmoid",
                "Tanh": "tanh",
                "Exp": "exp",
                "Abs": "abs",
                "Sqrt": "sqrt",
                "Mish": "mish",
                "Softplus": "softplus",
            }.items()
        },
        "LeakyRelu": _with_numbers("leaky_relu", negative_slope=("alpha", 0.01)),
        "Elu": _with_numbers("elu", alpha=("alpha", 1.0)),
        "Selu": _selu,
        "Celu": _celu,
        "Gelu": _gelu,
        "Swish": _swish,
        "HardSigmoid": _hard_sigmoid,
        "Softsign": _softsign,
        "PRelu": _prelu,
        "Clip": _clip,
        "Where": _where,
        "Sin": lambda call: call.aten("sin", self=call.variable()),
        "Neg": lambda call: call.step("mul_scalar", call.variable(), scalar=-1.0),
        "Reciprocal": lambda call: call.step("pow", call.variable(), exponent=-1.0),
        "Pow": _pow,
        "Softmax": _softmax("softmax"),
        "LogSoftmax": _softmax("log_softmax"),
        "Add": _binary("add"),
        "Sub": _binary("sub"),
        "Mul": _binary("mul"),
        "Div": _binary("div"),
        "Max": _binary("maximum"),
        "Min": _binary("minimum"),
        "Sum": _binary("add"),
        "Mean": _mean,
        "Identity": lambda call: call.variable(),
        "Dropout": _dropout,
        "Cast": _cast,
    }
)
"""ONNX's name → what reads it where it depends on the images."""
