"""Operations that move numbers without changing them, bring parameters in, or weigh an axis against itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks.ops.kinds import (
    Attribute,
    Attributes,
    OperationKind,
    Shape,
    Site,
    integer,
    integers,
    optional,
    real,
)
from zoovet.networks.values import Values

__all__ = ["LAYOUT"]

_Inputs = Sequence[Tensor]
_Parameters = Mapping[str, Tensor]


def _require_axis(site: Site, axis: int) -> None:
    if axis >= len(site.shape):
        raise ZoovetError(f"its axis must be one of {list(site.shape)} (counted from 0, without images), got {axis}")


def _flatten_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    return _reshaped(sites[0], (sites[0].num_numbers,))


def _reshape_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    shape = attributes["shape"]
    if math.prod(shape) != sites[0].num_numbers:
        raise ZoovetError(
            f"{list(sites[0].shape)} has {sites[0].num_numbers} numbers and {list(shape)} {math.prod(shape)}"
        )
    return _reshaped(sites[0], shape)


def _reshaped(site: Site, shape: Shape) -> Site:
    """The site in another shape, its channels followed where they stay whole."""
    if site.channel_axis is None:
        return Site(shape, None)
    before = math.prod(site.shape[: site.channel_axis])
    size, channels = site.shape[site.channel_axis], site.shape[site.channel_axis] // site.positions
    passed = 1
    for axis, entries in enumerate(shape):
        if passed == before and entries != 1:
            if entries == channels:
                return Site(shape, axis)
            if entries == size:
                return Site(shape, axis, site.positions)
            if entries % size == 0:  # axes behind the channels were flattened into theirs
                return Site(shape, axis, site.positions * (entries // size))
            break
        passed *= entries
    is_kept = math.prod(shape[: site.channel_axis]) == before and shape[site.channel_axis : site.channel_axis + 1] == (
        1,
    )
    if channels == 1 and is_kept:
        return Site(shape, site.channel_axis)
    return Site(shape, None)


def _permute_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    site, order = sites[0], attributes["dims"]
    if sorted(order) != list(range(len(site.shape))):
        raise ZoovetError(f"its order must name each axis of {list(site.shape)} once (from 0), got {list(order)}")
    axis = None if site.channel_axis is None else order.index(site.channel_axis)
    return Site(tuple(site.shape[old] for old in order), axis, site.positions)


def _permute(attributes: Attributes, inputs: _Inputs, parameters: _Parameters) -> Tensor:
    return inputs[0].permute(0, *(axis + 1 for axis in attributes["dims"]))


def _cat_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    first, axis = sites[0], attributes["dim"]
    _require_axis(first, axis)
    for site in sites[1:]:
        rest = (site.shape[:axis], site.shape[axis + 1 :])
        if len(site.shape) != len(first.shape) or rest != (first.shape[:axis], first.shape[axis + 1 :]):
            raise ZoovetError(
                f"what is joined along axis {axis} must agree on the others, got {list(first.shape)} and "
                f"{list(site.shape)}"
            )
    shape = (*first.shape[:axis], sum(site.shape[axis] for site in sites), *first.shape[axis + 1 :])
    kinds = {(site.channel_axis, site.positions) for site in sites}
    return Site(shape, *kinds.pop()) if len(kinds) == 1 else Site(shape, None)


def _slice_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    site, axis = sites[0], attributes["dim"]
    _require_axis(site, axis)
    start, end, step = attributes["start"], attributes["end"], attributes["step"]
    if not 0 <= start < end <= site.shape[axis]:
        raise ZoovetError(f"entries {start} to {end} are not within axis {axis} of {list(site.shape)}")
    shape = (*site.shape[:axis], len(range(start, end, step)), *site.shape[axis + 1 :])
    cuts_channels = axis == site.channel_axis and (start % site.positions or end % site.positions or step != 1)
    if cuts_channels and site.positions > 1:
        return Site(shape, None)
    return site.like(shape)


def _slice(attributes: Attributes, inputs: _Inputs, parameters: _Parameters) -> Tensor:
    window = slice(attributes["start"], attributes["end"], attributes["step"])
    return inputs[0][(slice(None),) * (attributes["dim"] + 1) + (window,)]


def _select_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    site, axis, index = sites[0], attributes["dim"], attributes["index"]
    _require_axis(site, axis)
    if index >= site.shape[axis]:
        raise ZoovetError(f"entry {index} is not within axis {axis} of {list(site.shape)}")
    shape = (*site.shape[:axis], *site.shape[axis + 1 :])
    if site.channel_axis is None or site.channel_axis == axis:
        return Site(shape, None)
    return Site(shape, site.channel_axis - (axis < site.channel_axis), site.positions)


def _expand_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    site, shape = sites[0], attributes["shape"]
    if len(shape) != len(site.shape) or any(
        one not in (1, other) for one, other in zip(site.shape, shape, strict=True)
    ):
        raise ZoovetError(f"{list(site.shape)} cannot be repeated to {list(shape)}")
    if site.channel_axis is not None and shape[site.channel_axis] != site.shape[site.channel_axis]:
        return Site(shape, None)
    return site.like(shape)


def _roll_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    axes = attributes["dims"]
    if not axes or len(axes) != len(attributes["shifts"]) or len(set(axes)) < len(axes):
        raise ZoovetError(f"it needs one shift for each of its axes, got {list(attributes['shifts'])} for {list(axes)}")
    _require_axis(sites[0], max(axes))
    return sites[0]


def _roll(attributes: Attributes, inputs: _Inputs, parameters: _Parameters) -> Tensor:
    return inputs[0].roll(attributes["shifts"], [axis + 1 for axis in attributes["dims"]])


def _pad_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    site, pads = sites[0], attributes["pad"]
    if len(pads) != 2 * len(site.shape):
        raise ZoovetError(
            f"its pad must hold (before, after) for each axis of {list(site.shape)}, first axis first, got {list(pads)}"
        )
    shape = [size + pads[2 * axis] + pads[2 * axis + 1] for axis, size in enumerate(site.shape)]
    if min(shape, default=1) < 1 or any(-pad > site.shape[place // 2] for place, pad in enumerate(pads)):
        raise ZoovetError(f"cutting {list(pads)} off {list(site.shape)} leaves nothing")
    return site.like(shape)


def _pad(attributes: Attributes, inputs: _Inputs, parameters: _Parameters) -> Tensor:
    pads = attributes["pad"]
    backward = [pad for axis in reversed(range(len(pads) // 2)) for pad in pads[2 * axis : 2 * axis + 2]]
    return functional.pad(inputs[0], backward, value=attributes["value"])


def _shuffle_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    site, groups = sites[0], attributes["groups"]
    if not site.shape or site.shape[0] % groups:
        raise ZoovetError(f"the first axis of {list(site.shape)} cannot be dealt to {groups} groups")
    return site


def _shuffle(attributes: Attributes, inputs: _Inputs, parameters: _Parameters) -> Tensor:
    dealt: Tensor = inputs[0].unflatten(1, (attributes["groups"], -1))
    return dealt.transpose(1, 2).flatten(1, 2)


def _axis_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    _require_axis(sites[0], attributes["dim"])
    return sites[0]


def _parameter_site(attributes: Attributes, sites: Sequence[Site], shapes: Mapping[str, Shape]) -> Site:
    axis = attributes["channel_axis"]
    site = Site(shapes["value"], axis)
    if axis is not None:
        _require_axis(site, axis)
    return site


def _many_parameter(
    attributes: Attributes, values: Sequence[Values], parameters: Mapping[str, Tensor], num_networks: int
) -> Values:
    return Values(parameters["value"].unsqueeze(1), "stacked")


def _along(name: str, function: Callable[[Tensor, int], Tensor]) -> OperationKind:
    return OperationKind(
        name=name,
        infer=_axis_site,
        plain=lambda attributes, inputs, parameters: function(inputs[0], attributes["dim"] + 1),
        attributes={"dim": _AXIS},
    )


_AXIS = Attribute(partial(integer, minimum=0), required=True)
_ONE = partial(integer, minimum=1)
_SHAPE = Attribute(integers(None, 1), required=True)
_SLICE = {
    "dim": _AXIS,
    "start": Attribute(partial(integer, minimum=0), 0),
    "end": Attribute(_ONE, required=True),
    "step": Attribute(_ONE, 1),
}

LAYOUT = (
    OperationKind(name="flatten", infer=_flatten_site, plain=lambda _, inputs, parameters: inputs[0].flatten(1)),
    OperationKind(
        name="reshape",
        infer=_reshape_site,
        plain=lambda attributes, inputs, _: inputs[0].reshape(len(inputs[0]), *attributes["shape"]),
        attributes={"shape": _SHAPE},
    ),
    OperationKind(
        name="permute",
        infer=_permute_site,
        plain=_permute,
        attributes={"dims": Attribute(integers(None, 0), required=True)},
    ),
    OperationKind(
        name="cat",
        infer=_cat_site,
        plain=lambda attributes, inputs, _: torch.cat(list(inputs), attributes["dim"] + 1),
        attributes={"dim": _AXIS},
        num_inputs=(1, 4096),
        makes_fresh=True,
    ),
    OperationKind(name="slice", infer=_slice_site, plain=_slice, attributes=_SLICE),
    OperationKind(
        name="select",
        infer=_select_site,
        plain=lambda attributes, inputs, _: inputs[0].select(attributes["dim"] + 1, attributes["index"]),
        attributes={"dim": _AXIS, "index": Attribute(partial(integer, minimum=0), required=True)},
    ),
    OperationKind(
        name="expand",
        infer=_expand_site,
        plain=lambda attributes, inputs, _: inputs[0].expand(-1, *attributes["shape"]),
        attributes={"shape": _SHAPE},
    ),
    OperationKind(
        name="roll",
        infer=_roll_site,
        plain=_roll,
        attributes={
            "shifts": Attribute(integers(), required=True),
            "dims": Attribute(integers(None, 0), required=True),
        },
    ),
    OperationKind(
        name="pad",
        infer=_pad_site,
        plain=_pad,
        attributes={"pad": Attribute(integers(), required=True), "value": Attribute(real, 0.0)},
    ),
    OperationKind(
        name="channel_shuffle",
        infer=_shuffle_site,
        plain=_shuffle,
        attributes={"groups": Attribute(_ONE, required=True)},
    ),
    _along("softmax", lambda values, axis: values.softmax(axis)),
    _along("log_softmax", lambda values, axis: values.log_softmax(axis)),
    OperationKind(
        name="parameter",
        infer=_parameter_site,
        plain=lambda attributes, inputs, parameters: parameters["value"].unsqueeze(0),
        many=_many_parameter,
        attributes={"channel_axis": Attribute(optional(partial(integer, minimum=0)))},
        roles=("value",),
        num_inputs=(0, 0),
    ),
)
"""The entries of this family."""
