"""Reading operators that work on each number alone, or on tensors number by number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from zoovet.readers.exported.values import Unreadable
from zoovet.readers.tflite.calls import Held, OperatorCall, OperatorReader

__all__ = ["ELEMENTWISE_OPERATORS", "activated"]

_CAST: Mapping[int, int] = MappingProxyType({0: 1, 1: 10, 2: 6, 4: 7, 6: 9})
"""TensorFlow Lite's number of a type → ONNX', of those that numbers are turned into."""

_Step = tuple[str, tuple[float, ...], Mapping[str, Any]]
_STEPS: Mapping[str, _Step] = MappingProxyType(
    {
        "ABS": ("Abs", (), {}),
        "COS": ("Cos", (), {}),
        "ELU": ("Elu", (), {}),
        "EXP": ("Exp", (), {}),
        "HARD_SWISH": ("HardSwish", (), {}),
        "LOG": ("Log", (), {}),
        "LOGISTIC": ("Sigmoid", (), {}),
        "NEG": ("Neg", (), {}),
        "RELU": ("Relu", (), {}),
        "RELU6": ("Clip", (0.0, 6.0), {}),
        "RELU_0_TO_1": ("Clip", (0.0, 1.0), {}),
        "RELU_N1_TO_1": ("Clip", (-1.0, 1.0), {}),
        "RSQRT": ("Pow", (-0.5,), {}),
        "SIN": ("Sin", (), {}),
        "SQRT": ("Sqrt", (), {}),
        "SQUARE": ("Pow", (2.0,), {}),
        "TANH": ("Tanh", (), {}),
    }
)
"""Name of an operator → operation of ONNX, the numbers that it reads besides, its settings."""

_ACTIVATIONS = ("", "RELU", "RELU_N1_TO_1", "RELU6", "TANH")
"""What is computed at the end of other operators, by number."""


def activated(call: OperatorCall, held: Held) -> Held:
    """What an operator's own activation makes of its result.

    Raises:
        Unreadable: It is not known.
    """
    number = call.settings.get("activation", 0)
    if not 0 <= number < len(_ACTIVATIONS):
        raise Unreadable(f"ends in the activation {number}, which is not known")
    return _step(call, held, *_STEPS[_ACTIVATIONS[number]]) if number else held


def _step(call: OperatorCall, held: Held, op: str, numbers: tuple[float, ...], settings: Mapping[str, Any]) -> Held:
    return replace(held, name=call.one(op, held.name, *(call.number(one) for one in numbers), **settings))


def _as_it_lies(call: OperatorCall) -> Held:
    """The first input, a map as the graph has it."""
    held = call.held()
    return held if held.is_map else Held(call.plain())


def _each(op: str, numbers: tuple[float, ...], settings: Mapping[str, Any]) -> OperatorReader:
    return lambda call: _step(call, _as_it_lies(call), op, numbers, settings)


def _leaky_relu(call: OperatorCall) -> Held:
    return _step(call, _as_it_lies(call), "LeakyRelu", (), {"alpha": call.settings["alpha"]})


def _gelu(call: OperatorCall) -> Held:
    kind = "tanh" if call.settings["approximate"] else "none"
    return _step(call, _as_it_lies(call), "Gelu", (), {"approximate": kind})


def _softmax(op: str) -> OperatorReader:
    def read(call: OperatorCall) -> Held:
        held, beta = _as_it_lies(call), call.settings.get("beta", 1.0)
        value = held.name if beta == 1 else call.one("Mul", held.name, call.number(beta))
        return Held(call.one(op, value, axis=1 if held.is_map else -1), is_map=held.is_map)

    return read


def _operands(call: OperatorCall) -> tuple[list[str], bool]:
    """All inputs, and whether they are maps: where one is a map and the others can be put beside it."""
    indices = range(call.num_inputs)
    if any(call.held(index).is_map for index in indices):
        beside = [call.beside_map(index) for index in indices]
        names = [name for name in beside if name is not None]
        if len(names) == len(beside):
            return names, True
    rank = max((len(call.shape(index)) for index in indices if call.is_variable(index)), default=0)
    return [call.beside(index, rank) for index in indices], False


def _together(op: str, *after: tuple[str, float]) -> OperatorReader:
    def read(call: OperatorCall) -> Held:
        names, is_map = _operands(call)
        made = call.one(op, *names)
        for last, number in after:
            made = call.one(last, made, call.number(number))
        return Held(made, is_map=is_map)

    return read


def _power(call: OperatorCall) -> Held:
    held = _as_it_lies(call)
    return Held(call.one("Pow", held.name, call.plain(1)), is_map=held.is_map)


def _prelu(call: OperatorCall) -> Held:
    """Slopes of channels; other slopes as the positive part, and a factor for the rest."""
    names, is_map = _operands(call)
    value, slopes = names
    whole, own = call.walk.shape(value), call.walk.shape(slopes)
    channels = whole[1] if len(whole) > 1 else 0
    if math.prod(own) == channels and (1, *own)[-len(whole) + 1 :][0] == channels:
        return Held(call.one("PRelu", value, slopes), is_map=is_map)
    negative = call.one("Mul", call.one("Clip", value, "", call.number(0.0)), slopes)
    return Held(call.one("Add", call.one("Relu", value), negative), is_map=is_map)


def _cast(call: OperatorCall) -> Held:
    target = call.settings["out_data_type"]
    held = _as_it_lies(call)
    if target not in _CAST:
        raise Unreadable("makes numbers of few bits, or texts")
    return Held(call.one("Cast", held.name, to=_CAST[target]), is_map=held.is_map)


def _dequantize(call: OperatorCall) -> Held:
    """Weights of float16 were read as float32."""
    number, _ = call.stored(0)
    assert call.walk.tensors[number].dtype == "float16"
    return call.held()


ELEMENTWISE_OPERATORS: Mapping[str, OperatorReader] = MappingProxyType(
    {
        **{name: _each(*step) for name, step in _STEPS.items()},
        "LEAKY_RELU": _leaky_relu,
        "GELU": _gelu,
        "PRELU": _prelu,
        "SOFTMAX": _softmax("Softmax"),
        "LOG_SOFTMAX": _softmax("LogSoftmax"),
        "ADD": _together("Add"),
        "ADD_N": _together("Sum"),
        "SUB": _together("Sub"),
        "MUL": _together("Mul"),
        "DIV": _together("Div"),
        "MAXIMUM": _together("Max"),
        "MINIMUM": _together("Min"),
        "SQUARED_DIFFERENCE": _together("Sub", ("Pow", 2.0)),
        "POW": _power,
        "CAST": _cast,
        "DEQUANTIZE": _dequantize,
    }
)
"""Name of an operator → what reads it."""
