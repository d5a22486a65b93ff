"""Keras' layers that work on each number alone, and those that do nothing when a network answers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from zoovet.readers.exported.values import Unreadable
from zoovet.readers.keras.activations import activated
from zoovet.readers.keras.calls import LayerCall, LayerReader, Map

__all__ = ["POINTWISE"]

_IDLE = (
    *("ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "Identity"),
    *("InputLayer", "RandomBrightness", "RandomContrast", "RandomFlip", "RandomRotation", "RandomTranslation"),
    *("RandomZoom", "SpatialDropout2D"),
)


def _idle(call: LayerCall) -> Map:
    """What draws in training keeps the state of its generator."""
    while call.num_left:
        call.take("state")
    return call.input


def _activation(call: LayerCall) -> Map:
    return activated(call, call.input, call.config.get("activation"))


def _relu(call: LayerCall) -> Map:
    most, slope = call.config.get("max_value"), call.config.get("negative_slope") or 0.0
    if call.config.get("threshold") or (slope and most is not None):
        raise Unreadable("has a threshold, or a largest number and a slope")
    if slope:
        return call.like("leaky_relu", negative_slope=float(slope))
    if most is None:
        return call.like("relu")
    return call.like("relu6") if most == 6 else call.like("clamp", min=0.0, max=float(most))


def _leaky_relu(call: LayerCall) -> Map:
    slope = call.config.get("negative_slope", call.config.get("alpha", 0.3))
    return call.like("leaky_relu", negative_slope=float(slope))


def _elu(call: LayerCall) -> Map:
    return call.like("elu", alpha=float(call.config.get("alpha", 1.0)))


def _softmax(call: LayerCall) -> Map:
    value = Map(call.plain(call.input))
    call.inputs[0] = value
    axis = call.config.get("axis", -1)
    return Map(call.add("softmax", value.site, dim=call.axis(int(axis))))


def _prelu(call: LayerCall) -> Map:
    """Slopes of channels; other slopes as the positive part, and a factor for the rest."""
    value = call.inputs[0] = Map(call.plain(call.input))
    slopes, shape = call.take("alpha"), call.shape
    if len(shape) == 3 and call.layout.channels_last:
        slopes = slopes.permute(2, 0, 1)
    own = tuple(slopes.shape)
    if own == (shape[0], *(1,) * (len(shape) - 1)):
        return Map(call.add("prelu", value.site, parameters={"weight": call.learned("weight", slopes.reshape(-1))}))
    if len(own) != len(shape) or any(one not in (1, size) for one, size in zip(own, shape, strict=True)):
        raise Unreadable(f"has slopes of {list(own)} for values of {list(shape)}")
    factor = call.writer.constant_site(call.learned("weight", slopes), own, 0 if own[0] == shape[0] else None)
    negative = call.add("mul", call.add("clamp", value.site, max=0.0), factor)
    return Map(call.add("add", call.add("relu", value.site), negative))


POINTWISE: Mapping[str, LayerReader] = MappingProxyType(
    {
        **dict.fromkeys(_IDLE, _idle),
        "Activation": _activation,
        "ELU": _elu,
        "LeakyReLU": _leaky_relu,
        "PReLU": _prelu,
        "ReLU": _relu,
        "Softmax": _softmax,
    }
)
"""Class of a layer → what writes it."""
