"""Reading calls that work on each number alone, or on two tensors number by number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch

from zoovet.printable import with_article
from zoovet.readers.exported.calls import Call, Reader
from zoovet.readers.exported.values import Constant, Unreadable, Variable

__all__ = ["ELEMENTWISE_READERS"]


def _same(op: str, *names: str) -> Reader:
    """An operation of the same name and settings."""
    return lambda call: call.like(op, call.variable(), **{name: _number(call, name) for name in names})


def _number(call: Call, name: str) -> Any:
    value = call[name]
    if isinstance(value, Constant) and value.tensor.numel() == 1 and not value.is_learned:
        return value.tensor.item()
    if isinstance(value, Constant | Variable):
        raise Unreadable(f"has {with_article(name)} that is no number")
    return value


def _identity(call: Call) -> Variable:
    """What comes in: ``input``, or ``self`` where it may be changed in place."""
    return call.variable("input") if "input" in call.arguments else call.variable()


def _dropout(call: Call) -> Variable:
    if call["train"] and call["p"]:
        raise Unreadable("drops numbers in evaluation mode too")
    return _identity(call)


def _rrelu(call: Call) -> Variable:
    if call["training"]:
        raise Unreadable("draws slopes in evaluation mode too")
    slope = (_number(call, "lower") + _number(call, "upper")) / 2
    return call.like("leaky_relu", call.variable(), negative_slope=slope)


def _elu(call: Call) -> Variable:
    if call["scale"] != 1 or call["input_scale"] != 1:
        raise Unreadable("has a scale")
    return call.like("elu", call.variable(), alpha=float(call["alpha"]))


def _clamp(low: str | None, high: str | None) -> Reader:
    def read(call: Call) -> Variable:
        least = None if low is None else _number(call, low)
        most = None if high is None else _number(call, high)
        if (least, most) == (0, 6):
            return call.like("relu6", call.variable())
        if (least, most) == (0, None):
            return call.like("relu", call.variable())
        return call.like("clamp", call.variable(), min=least, max=most)

    return read


def _power(exponent: float) -> Reader:
    return lambda call: call.like("pow", call.variable(), exponent=exponent)


def _prelu(call: Call) -> Variable:
    value, weight = call.plain(), call.constant("weight")
    return value.like(call.writer.add("prelu", value.site, parameters={"weight": weight}), value.shape)


def _sin(call: Call) -> Variable:
    """A factor before the sine becomes its frequency, as a SIREN's w0."""
    value = call.variable()
    maker = call.writer.maker(value.site)
    if maker is None or maker.op != "mul_scalar":
        return call.like("sin", value)
    return value.like(call.writer.add("sin", maker.inputs[0], frequency=maker.attributes["scalar"]), value.shape)


def _glu(call: Call) -> Variable:
    value = call.variable()
    axis, site = value.site_axis(call["dim"]), call.writer.site(value.site)
    half = site.shape[axis] // 2
    first, second = (
        call.writer.add("slice", value.site, dim=axis, start=start, end=start + half) for start in (0, half)
    )
    gate = call.writer.add("sigmoid", second)
    return value.like(call.writer.add("mul", first, gate), call.shape)


def _softmax(op: str) -> Reader:
    def read(call: Call) -> Variable:
        value = call.variable()
        return call.like(op, value, dim=value.site_axis(call["dim"]))

    return read


def _binary(op: str) -> Reader:
    def read(call: Call) -> Variable:
        first, second = call["self"], call["other"]
        if call.arguments.get("alpha", 1) != 1:
            second = _scaled(call, second, call["alpha"])
        if call.arguments.get("rounding_mode"):
            raise Unreadable("rounds")
        return _combined(call, op, first, second)

    return read


def _reversed_subtraction(call: Call) -> Variable:
    return _combined(call, "sub", call["other"], _scaled(call, call["self"], call["alpha"]))


def _scaled(call: Call, value: Any, factor: float) -> Any:
    if factor == 1:
        return value
    if isinstance(value, Variable):
        return call.like("mul_scalar", value, scalar=float(factor))
    if isinstance(value, Constant):
        return Constant(value.tensor * factor, is_learned=value.is_learned)
    return value * factor


def _combined(call: Call, op: str, first: Any, second: Any) -> Variable:
    """Two operands, at least one of which depends on the images."""
    numbers = [_as_number(operand) for operand in (first, second)]
    if isinstance(first, Variable) and numbers[1] is not None:
        return _with_number(call, op, first, numbers[1])
    if isinstance(second, Variable) and numbers[0] is not None:
        return _number_first(call, op, numbers[0], second)
    if isinstance(first, Variable) and isinstance(second, Variable):
        return _of_two(call, op, first, second)
    value = first if isinstance(first, Variable) else second
    assert isinstance(value, Variable)
    if len(call.shape) != len(value.shape):
        raise Unreadable("puts constants beside values of fewer axes")
    sites = [
        operand.site if isinstance(operand, Variable) else call.writer.beside(operand, value)
        for operand in (first, second)
    ]
    return value.like(call.writer.add(op, *sites), call.shape)


def _of_two(call: Call, op: str, first: Variable, second: Variable) -> Variable:
    longer = max(first, second, key=lambda value: len(value.shape))
    sides = []
    for value in (first, second):
        missing = len(longer.shape) - len(value.shape)
        sides.append(call.writer.reshape(value, ((1,) * missing + value.shape)) if missing else value)
    places = {(side.axis, side.outer, side.inner) for side in sides}
    if len(places) > 1:
        raise Unreadable("puts images beside others")
    return longer.like(call.writer.add(op, *(side.site for side in sides)), call.shape)


def _as_number(operand: Any) -> float | None:
    if isinstance(operand, int | float) and not isinstance(operand, bool):
        return float(operand)
    if isinstance(operand, Constant) and operand.tensor.ndim == 0 and not operand.is_learned:
        return float(operand.tensor.item())
    return None


def _with_number(call: Call, op: str, value: Variable, number: float) -> Variable:
    match op:
        case "add" | "sub":
            number = number if op == "add" else -number
            return value if number == 0 else call.like("add_scalar", value, scalar=number)
        case "mul" | "div":
            if op == "div" and number == 0:
                raise Unreadable("divides by zero")
            number = number if op == "mul" else 1 / number
            return value if number == 1 else call.like("mul_scalar", value, scalar=number)
        case "maximum":
            return call.like("clamp", value, min=number)
        case _:
            return call.like("clamp", value, max=number)


def _number_first(call: Call, op: str, number: float, value: Variable) -> Variable:
    if op == "sub":
        return _with_number(call, "add", _scaled(call, value, -1.0), number)
    if op == "div":
        return _with_number(call, "mul", call.like("pow", value, exponent=-1.0), number)
    return _with_number(call, op, value, number)


def _to_dtype(call: Call) -> Variable:
    dtype = call.arguments.get("dtype")
    if dtype is not None and dtype not in (torch.float32, torch.float64):
        raise Unreadable(f"calculates in {dtype}")
    return call.variable()


_NAMES: Mapping[str, tuple[str, ...]] = {
    "relu": (),
    "relu6": (),
    "leaky_relu": ("negative_slope",),
    "selu": (),
    "gelu": ("approximate",),
    "silu": (),
    "mish": (),
    "softplus": ("beta", "threshold"),
    "hardswish": (),
    "hardsigmoid": (),
    "sigmoid": (),
    "log_sigmoid": (),
    "tanh": (),
    "exp": (),
    "abs": (),
    "sqrt": (),
}

_OTHERS: Mapping[str, Callable[[Call], Any]] = {
    **dict.fromkeys(("contiguous", "clone", "alias", "detach", "lift_fresh_copy", "identity", "positive"), _identity),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"), _dropout),
    **dict.fromkeys(("to", "_to_copy", "type_as"), _to_dtype),
    "_assert_tensor_metadata": lambda call: None,
    "rrelu": _rrelu,
    "elu": _elu,
    "clamp": _clamp("min", "max"),
    "clip": _clamp("min", "max"),
    "clamp_min": _clamp("min", None),
    "clamp_max": _clamp(None, "max"),
    "hardtanh": _clamp("min_val", "max_val"),
    "neg": lambda call: call.like("mul_scalar", call.variable(), scalar=-1.0),
    "square": _power(2.0),
    "rsqrt": _power(-0.5),
    "reciprocal": _power(-1.0),
    "pow": lambda call: call.like("pow", call.variable(), exponent=float(_number(call, "exponent"))),
    "prelu": _prelu,
    "sin": _sin,
    "glu": _glu,
    "softmax": _softmax("softmax"),
    "_softmax": _softmax("softmax"),
    "log_softmax": _softmax("log_softmax"),
    "_log_softmax": _softmax("log_softmax"),
    "add": _binary("add"),
    "sub": _binary("sub"),
    "subtract": _binary("sub"),
    "mul": _binary("mul"),
    "multiply": _binary("mul"),
    "div": _binary("div"),
    "divide": _binary("div"),
    "true_divide": _binary("div"),
    "maximum": _binary("maximum"),
    "minimum": _binary("minimum"),
    "rsub": _reversed_subtraction,
}

ELEMENTWISE_READERS: Mapping[str, Reader] = MappingProxyType(
    {**{name: _same(name, *names) for name, names in _NAMES.items()}, **_OTHERS}
)
"""ATen's name → what reads it."""
