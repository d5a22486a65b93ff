"""Operations on each number alone, and on numbers at the same place of two sites."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks.ops.kinds import Attribute, Attributes, OperationKind, Shape, Site, choice, optional, real
from zoovet.networks.ops.per_channel import many_per_channel
from zoovet.networks.tanh import tanh

__all__ = ["ELEMENTWISE"]

_Function = Callable[[Tensor, Attributes], Tensor]


def _kept(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    return sites[0]


def _function(
    name: str, function: _Function, overwrite: Callable[[Tensor], Tensor] | None = None, **attributes: Attribute
) -> OperationKind:
    return OperationKind(
        name=name,
        infer=_kept,
        plain=lambda values, inputs, parameters: function(inputs[0], values),
        overwrite=overwrite and (lambda values, inputs, parameters: overwrite(inputs[0])),
        attributes=attributes,
        is_elementwise=True,
        is_per_channel=True,
    )


def _number(default: float | None = None) -> Attribute:
    return Attribute(real, default, required=default is None)


def _sine(values: Tensor, attributes: Attributes) -> Tensor:
    frequency = attributes["frequency"]
    return values.sin() if frequency == 1 else (values * frequency).sin()


def _clamp(values: Tensor, attributes: Attributes) -> Tensor:
    return values.clamp(attributes["min"], attributes["max"])


_FUNCTIONS = (
    _function("relu", lambda values, _: values.relu(), torch.relu_),
    _function("relu6", lambda values, _: functional.relu6(values), lambda values: functional.relu6(values, True)),
    _function(
        "leaky_relu",
        lambda values, attributes: functional.leaky_relu(values, attributes["negative_slope"]),
        negative_slope=_number(0.01),
    ),
    _function("elu", lambda values, attributes: functional.elu(values, attributes["alpha"]), alpha=_number(1.0)),
    _function("selu", lambda values, _: functional.selu(values)),
    _function(
        "gelu",
        lambda values, attributes: functional.gelu(values, approximate=attributes["approximate"]),
        approximate=Attribute(choice("none", "tanh"), "none"),
    ),
    _function("silu", lambda values, _: functional.silu(values)),
    _function("mish", lambda values, _: functional.mish(values)),
    _function(
        "softplus",
        lambda values, attributes: functional.softplus(values, attributes["beta"], attributes["threshold"]),
        beta=_number(1.0),
        threshold=_number(20.0),
    ),
    _function("hardswish", lambda values, _: functional.hardswish(values)),
    _function("hardsigmoid", lambda values, _: functional.hardsigmoid(values)),
    _function("sigmoid", lambda values, _: values.sigmoid(), torch.sigmoid_),
    _function("log_sigmoid", lambda values, _: functional.logsigmoid(values)),
    _function("tanh", lambda values, _: tanh(values)),
    _function("sin", _sine, frequency=_number(1.0)),
    _function("exp", lambda values, _: values.exp()),
    _function("abs", lambda values, _: values.abs()),
    _function("sqrt", lambda values, _: values.sqrt()),
    _function("pow", lambda values, attributes: values.pow(attributes["exponent"]), exponent=_number()),
    _function("clamp", _clamp, min=Attribute(optional(real)), max=Attribute(optional(real))),
    _function("add_scalar", lambda values, attributes: values + attributes["scalar"], scalar=_number()),
    _function("mul_scalar", lambda values, attributes: values * attributes["scalar"], scalar=_number()),
)


def _broadcast(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    first, second = sites
    if len(first.shape) != len(second.shape):
        raise ZoovetError(
            f"both inputs must have as many axes, got {list(first.shape)} and {list(second.shape)}; reshape one"
        )
    shape = []
    for one, other in zip(first.shape, second.shape, strict=True):
        if one != other and 1 not in (one, other):
            raise ZoovetError(
                f"the inputs do not fit: {list(first.shape)} and {list(second.shape)} (axes must be equal or 1)"
            )
        shape.append(other if one == 1 else one)
    for site in sorted(sites, key=lambda site: site.num_numbers, reverse=True):
        axis = site.channel_axis
        if axis is not None and site.shape[axis] == shape[axis]:
            return site.like(shape)
    return Site(tuple(shape), None)


def _binary(name: str, function: Callable[[Tensor, Tensor], Tensor], makes_fresh: bool) -> OperationKind:
    return OperationKind(
        name=name,
        infer=_broadcast,
        plain=lambda attributes, inputs, parameters: function(inputs[0], inputs[1]),
        num_inputs=(2, 2),
        broadcasts=True,
        makes_fresh=makes_fresh,
    )


_BINARY = (
    _binary("add", torch.add, True),
    _binary("sub", torch.sub, True),
    _binary("mul", torch.mul, True),
    _binary("div", torch.div, False),
    _binary("maximum", torch.maximum, False),
    _binary("minimum", torch.minimum, False),
)


def _prelu_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    site, weight = sites[0], shapes["weight"]
    if not site.shape or weight not in ((1,), (site.shape[0],)):
        raise ZoovetError(
            f"the weight must hold 1 slope or one for each of the channels of {list(site.shape)}, got {list(weight)}"
        )
    return site


def _prelu(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    return functional.prelu(inputs[0], parameters["weight"])


def _many_prelu(attributes: Attributes, values: Any, parameters: Mapping[str, Tensor], num_networks: int) -> Any:
    folded = values[0].folded(num_networks)
    channels = folded.shape[1] // num_networks
    weight = parameters["weight"].expand(num_networks, channels)
    return many_per_channel(_prelu)(attributes, values, {"weight": weight}, num_networks)


_PRELU = OperationKind(
    name="prelu", infer=_prelu_site, plain=_prelu, many=_many_prelu, roles=("weight",), is_per_channel=True
)

ELEMENTWISE = (*_FUNCTIONS, *_BINARY, _PRELU)
"""The entries of this family."""
