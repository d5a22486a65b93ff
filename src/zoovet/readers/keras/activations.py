"""Keras' activations by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from zoovet.readers.exported.values import Unreadable
from zoovet.readers.keras.calls import LayerCall, Map

__all__ = ["activated"]

_Step = tuple[str, Mapping[str, Any]]
_ACTIVATIONS: Mapping[str, tuple[_Step, ...]] = MappingProxyType(
    {
        "linear": (),
        "relu": (("relu", {}),),
        "relu6": (("relu6", {}),),
        "leaky_relu": (("leaky_relu", {"negative_slope": 0.2}),),
        "elu": (("elu", {}),),
        "selu": (("selu", {}),),
        "gelu": (("gelu", {}),),
        "silu": (("silu", {}),),
        "swish": (("silu", {}),),
        "mish": (("mish", {}),),
        "softplus": (("softplus", {}),),
        "sigmoid": (("sigmoid", {}),),
        "log_sigmoid": (("log_sigmoid", {}),),
        "hard_sigmoid": (("hardsigmoid", {}),),
        "hard_silu": (("hardswish", {}),),
        "hard_swish": (("hardswish", {}),),
        "hard_tanh": (("clamp", {"min": -1.0, "max": 1.0}),),
        "tanh": (("tanh", {}),),
        "exponential": (("exp", {}),),
    }
)
_HARD_SIGMOID_OF_KERAS_2 = (
    ("mul_scalar", {"scalar": 0.2}),
    ("add_scalar", {"scalar": 0.5}),
    ("clamp", {"min": 0.0, "max": 1.0}),
)
_ALONG_CHANNELS = ("softmax", "log_softmax")


def activated(call: LayerCall, value: Map, activation: Any) -> Map:
    """What an activation makes of a value.

    Args:
        call: The layer that has it.
        value: What it works on.
        activation: As the file has it: a name, or a description of a function of Keras.

    Raises:
        Unreadable: It is unknown, or is of another kind.
    """
    name = _name_of(activation)
    if name in _ALONG_CHANNELS:
        site = call.plain(value)
        rank = len(call.writer.site(site).shape)
        return Map(call.add(name, site, dim=0 if rank == 3 and call.layout.channels_last else rank - 1))
    if name not in _ACTIVATIONS:
        raise Unreadable(f"has the activation {name[:60]!r}, which is not in the vocabulary of graphs")
    is_older = name == "hard_sigmoid" and call.layout.is_of_keras_2
    site = value.site
    for op, settings in _HARD_SIGMOID_OF_KERAS_2 if is_older else _ACTIVATIONS[name]:
        site = call.add(op, site, **settings)
    return Map(site, value.flattened)


def _name_of(activation: Any) -> str:
    if activation is None:
        return "linear"
    if isinstance(activation, str):
        return activation
    described = dict(activation)
    name, registered = described.get("config"), described.get("registered_name")
    if described.get("class_name") != "function" or not isinstance(name, str) or registered not in (None, name):
        raise Unreadable("has an activation of a class of its own, or a layer as its activation")
    return name
