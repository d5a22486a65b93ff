"""Normalizations as they compute in evaluation mode, and what is left of one: a factor and an offset a channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks.ops.kinds import Attribute, Attributes, OperationKind, Shape, Site, integer, integers
from zoovet.networks.ops.per_channel import many_per_channel
from zoovet.networks.values import Values

__all__ = ["NORMS"]


def _epsilon(value: Any, what: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ZoovetError(f"{what} must be a number from 0 to 1, got {value!r}")
    return float(value)


_EPSILON = Attribute(_epsilon, 1e-5)


def _channels(sites: Sequence[Site], shapes: Mapping[str, Shape], fewest_axes: int) -> int:
    shape = sites[0].shape
    if len(shape) < fewest_axes:
        raise ZoovetError(f"it reads at least {fewest_axes} axes, channels first, but what comes in is {list(shape)}")
    for role, parameter in shapes.items():
        if parameter != (shape[0],):
            raise ZoovetError(
                f"the {role.replace('_', ' ')} must have the shape [{shape[0]}], one for each channel of what comes in "
                f"({list(shape)}), got {list(parameter)}"
            )
    return shape[0]


def _batch_norm_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    _channels(sites, shapes, 1)
    return sites[0]


def _batch_norm(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    if parameters["running_mean"].requires_grad or parameters["running_var"].requires_grad:
        return _differentiable_batch_norm(attributes["eps"], inputs[0], parameters)
    return functional.batch_norm(
        inputs[0],
        parameters["running_mean"],
        parameters["running_var"],
        parameters.get("weight"),
        parameters.get("bias"),
        training=False,
        eps=attributes["eps"],
    )


def _differentiable_batch_norm(eps: float, values: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """The same with gradients to the statistics, which torch's own has not."""
    scale = torch.rsqrt(parameters["running_var"] + eps)
    if "weight" in parameters:
        scale = scale * parameters["weight"]
    shift = -parameters["running_mean"] * scale
    if "bias" in parameters:
        shift = shift + parameters["bias"]
    return _channel_affine({}, [values], {"weight": scale, "bias": shift})


def _channel_affine(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    axes = (-1, *(1,) * (inputs[0].ndim - 2))
    return inputs[0] * parameters["weight"].view(axes) + parameters["bias"].view(axes)


def _instance_norm_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    _channels(sites, shapes, 2)
    return sites[0]


def _instance_norm(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    return functional.instance_norm(
        inputs[0], weight=parameters.get("weight"), bias=parameters.get("bias"), eps=attributes["eps"]
    )


def _group_norm_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    channels, groups = _channels(sites, shapes, 1), attributes["num_groups"]
    if channels % groups:
        raise ZoovetError(f"{channels} channels cannot be dealt to {groups} groups")
    return sites[0]


def _group_norm(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    return functional.group_norm(
        inputs[0], attributes["num_groups"], parameters.get("weight"), parameters.get("bias"), attributes["eps"]
    )


def _many_group_norm(
    attributes: Attributes, values: Sequence[Values], parameters: Mapping[str, Tensor], num_networks: int
) -> Values:
    groups = {**attributes, "num_groups": num_networks * attributes["num_groups"]}
    return many_per_channel(_group_norm)(groups, values, parameters, num_networks)


def _layer_norm_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    shape, normalized = sites[0].shape, attributes["normalized_shape"]
    if not normalized or shape[-len(normalized) :] != normalized:
        raise ZoovetError(f"it normalizes axes of {list(normalized)}, but what comes in is {list(shape)}")
    for role, parameter in shapes.items():
        if parameter != normalized:
            raise ZoovetError(f"the {role} must have the shape {list(normalized)}, got {list(parameter)}")
    return sites[0]


def _layer_norm(attributes: Attributes, inputs: Sequence[Tensor], parameters: Mapping[str, Tensor]) -> Tensor:
    return functional.layer_norm(
        inputs[0], attributes["normalized_shape"], parameters.get("weight"), parameters.get("bias"), attributes["eps"]
    )


def _many_layer_norm(
    attributes: Attributes, values: Sequence[Values], parameters: Mapping[str, Tensor], num_networks: int
) -> Values:
    stacked = values[0].stacked(num_networks)
    result = functional.layer_norm(stacked, attributes["normalized_shape"], eps=attributes["eps"])
    leading = (1,) * (stacked.ndim - 1 - len(attributes["normalized_shape"]))
    if "weight" in parameters:
        weight = parameters["weight"]
        result = result * weight.view(num_networks, *leading, *weight.shape[1:])
    if "bias" in parameters:
        bias = parameters["bias"]
        result = result + bias.view(num_networks, *leading, *bias.shape[1:])
    return Values(result, "stacked")


NORMS = (
    OperationKind(
        name="batch_norm",
        infer=_batch_norm_site,
        plain=_batch_norm,
        many=many_per_channel(_batch_norm),
        attributes={"eps": _EPSILON},
        roles=("running_mean", "running_var"),
        optional_roles=("weight", "bias"),
        makes_fresh=True,
    ),
    OperationKind(
        name="channel_affine",
        infer=_batch_norm_site,
        plain=_channel_affine,
        many=many_per_channel(_channel_affine),
        roles=("weight", "bias"),
        makes_fresh=True,
    ),
    OperationKind(
        name="instance_norm",
        infer=_instance_norm_site,
        plain=_instance_norm,
        many=many_per_channel(_instance_norm),
        attributes={"eps": _EPSILON},
        optional_roles=("weight", "bias"),
    ),
    OperationKind(
        name="group_norm",
        infer=_group_norm_site,
        plain=_group_norm,
        many=_many_group_norm,
        attributes={"num_groups": Attribute(partial(integer, minimum=1), required=True), "eps": _EPSILON},
        optional_roles=("weight", "bias"),
    ),
    OperationKind(
        name="layer_norm",
        infer=_layer_norm_site,
        plain=_layer_norm,
        many=_many_layer_norm,
        attributes={"normalized_shape": Attribute(integers(None, 1), required=True), "eps": _EPSILON},
        optional_roles=("weight", "bias"),
    ),
)
"""The entries of this family."""
