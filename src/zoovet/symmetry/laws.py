"""Laws: what each operation of the vocabulary lets happen to the channels that it reads and makes.

A law says of one operation which slots permute together, which of them share their scalars, what scalars they may have,
and how the operation's parameters follow. What is said here must hold exactly: an operation without a law, or used in a
way that its law does not know, leaves everything that it touches as it is. Less is learned then; nothing is wrong.

Source: Kalogeropoulos et al. 2024, *Scale Equivariant Graph Metanetworks*, section 4, for chains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from zoovet.networks.graph import Operation
from zoovet.networks.ops import Site
from zoovet.symmetry.ties import NEGATION, NONZERO, POSITIVE, UNSCALED, AlongAxis, Matrix, Slots, Ties

__all__ = ["LAWS", "Law", "Step", "fix_all"]


@dataclass(frozen=True, eq=False)
class Step:
    """One operation of a graph, for its law.

    Attributes:
        ties: Where the law writes down what it says.
        operation: Which operation.
    """

    ties: Ties
    operation: Operation

    def site(self, index: int | None = None) -> Site:
        """Of an input; of the output where no index is given."""
        return self.ties.graph.sites[self._name(index)]

    def slots(self, index: int | None = None) -> Slots:
        """Of an input; of the output where no index is given."""
        return self.ties.slots(self._name(index))

    def _name(self, index: int | None) -> str:
        return self.operation.output if index is None else self.operation.inputs[index]

    def along(self, role: str, axis: int, slots: Slots, *factors: tuple[Slots, int]) -> None:
        """The parameter of a role, where there is one, follows slots along an axis."""
        if role in self.operation.parameters:
            self.ties.uses.append(AlongAxis(self.operation.parameters[role], axis, slots, factors))


Law = Callable[[Step], None]


def fix_all(step: Step) -> None:
    """The law of what has none."""
    for index in range(len(step.operation.inputs)):
        step.ties.fix(step.slots(index))
    step.ties.fix(step.slots())


def keeps(allowed: int) -> Law:
    """Each number of the output follows from numbers of its channel; scalars of these kinds pass through."""

    def law(step: Step) -> None:
        before, after = step.slots(0), step.slots()
        if len(before) != len(after):
            fix_all(step)
            return
        step.ties.tie(before, after, scaled=bool(allowed))
        step.ties.allow(before, allowed)
        step.ties.allow(after, allowed)

    return law


def _channels_first(law: Law) -> Law:
    """A law of an operation that takes the first axis for the channels; where they lie elsewhere, nothing is known."""
    return lambda step: law(step) if step.site(0).channel_axis == 0 else fix_all(step)


def _conv2d(step: Step) -> None:
    site, before, after = step.site(0), step.slots(0), step.slots()
    cells = step.operation.attributes["groups"]
    if site.channel_axis != 0 or site.positions != 1:
        _reads_what_is_fixed(step)
        return
    if cells == len(before) == len(after):
        step.ties.tie(before, after, scaled=False)
    elif cells > 1:
        for slots in (before, after):
            step.ties.mark(slots, np.arange(len(slots)) // (len(slots) // cells))
    step.ties.uses.append(Matrix(step.operation.parameters["weight"], after, before, cells))
    step.along("bias", 0, after, (after, 1))


def _linear(step: Step) -> None:
    site, before, after = step.site(0), step.slots(0), step.slots()
    if site.channel_axis != len(site.shape) - 1:
        _reads_what_is_fixed(step)
        return
    step.ties.uses.append(Matrix(step.operation.parameters["weight"], after, before, 1))
    step.along("bias", 0, after, (after, 1))


def _reads_what_is_fixed(step: Step) -> None:
    """A weight whose columns are no channels that are known: its rows may still move, unless they stand in cells."""
    after, cells = step.slots(), step.operation.attributes.get("groups", 1)
    step.ties.fix(step.slots(0))
    if cells > 1:
        step.ties.fix(after)
    step.along("weight", 0, after, (after, 1))
    step.along("bias", 0, after, (after, 1))


def _batch_norm(step: Step) -> None:
    before, after = step.slots(0), step.slots()
    has_weight = "weight" in step.operation.parameters
    step.ties.tie(before, after, scaled=not has_weight)
    step.along("running_mean", 0, before, (before, 1))
    step.along("running_var", 0, before)
    _affine(step)


def _channel_affine(step: Step) -> None:
    step.ties.tie(step.slots(0), step.slots(), scaled=False)
    _affine(step)


def _affine(step: Step) -> None:
    """A factor a channel, that makes up for the scalar of what comes in, and an offset."""
    before, after = step.slots(0), step.slots()
    step.along("bias", 0, after, (after, 1))
    step.along("weight", 0, after, (after, 1), (before, -1))


def _group_norm(step: Step) -> None:
    slots = step.slots(0)
    step.ties.mark(slots, np.arange(len(slots)) // (len(slots) // step.operation.attributes["num_groups"]))
    _normalizes(step, 0)


def _layer_norm(step: Step) -> None:
    site, shape = step.site(0), step.operation.attributes["normalized_shape"]
    axis = -1 if site.channel_axis is None else site.channel_axis - (len(site.shape) - len(shape))
    if axis < 0:  # it normalizes each channel alone, and its parameters know no channels
        keeps(UNSCALED)(step)
    else:
        _normalizes(step, axis)


def _normalizes(step: Step, axis: int) -> None:
    """What it makes has a scale of its own, by its weight along an axis; its eps lets it absorb none of the input's."""
    before, after = step.slots(0), step.slots()
    step.ties.tie(before, after, scaled=False)
    step.ties.allow(before, UNSCALED)
    if "weight" not in step.operation.parameters:
        step.ties.allow(after, UNSCALED)
    step.along("weight", axis, after, (after, 1))
    step.along("bias", axis, after, (after, 1))


def _prelu(step: Step) -> None:
    weight = step.ties.graph.shapes[step.operation.parameters["weight"]]
    if weight != (1,) and step.site(0).channel_axis != 0:
        fix_all(step)
        return
    keeps(POSITIVE)(step)
    if weight != (1,) or len(step.slots()) == 1:
        step.along("weight", 0, step.slots())


def _inputs_by_span(step: Step) -> tuple[list[int], list[int]] | None:
    """Of an operation on numbers at one place: inputs with the output's slots, and inputs without any channels.

    ``None`` where an input has others, so that nothing is known.
    """
    out = step.site()
    if out.channel_axis is None:
        return None
    whole, blank = [], []
    for index in range(len(step.operation.inputs)):
        site = step.site(index)
        if site.shape[out.channel_axis] == 1 and out.shape[out.channel_axis] > 1:
            blank.append(index)
        elif site.channel_axis == out.channel_axis and site.positions == out.positions:
            whole.append(index)
        else:
            return None
    return whole, blank


def _sum(allowed: int) -> Law:
    def law(step: Step) -> None:
        found = _inputs_by_span(step)
        if found is None:
            fix_all(step)
            return
        whole, blank = found
        after = step.slots()
        for index in whole:
            step.ties.tie(step.slots(index), after, scaled=True)
        step.ties.allow(after, UNSCALED if blank else allowed)
        for index in blank:
            step.ties.allow(step.slots(index), UNSCALED)

    return law


def _product(step: Step) -> None:
    """One factor, the gate, keeps its scale; scalars of the other pass through."""
    found = _inputs_by_span(step)
    if found is None:
        fix_all(step)
        return
    whole, blank = found
    gate = 1
    if step.operation.op == "mul" and step.site(0).num_numbers < step.site(1).num_numbers:
        gate = 0
    for index in whole:
        step.ties.tie(step.slots(index), step.slots(), scaled=index != gate)
    for index in (gate, *blank):
        step.ties.allow(step.slots(index), UNSCALED)
    if 1 - gate not in whole:
        step.ties.allow(step.slots(), UNSCALED)


def _reduced(allowed: int) -> Law:
    def law(step: Step) -> None:
        if step.site(0).channel_axis in step.operation.attributes["dim"]:
            step.ties.allow(step.slots(0), UNSCALED)  # channels are mixed evenly: they may still be permuted
        else:
            keeps(allowed)(step)

    return law


def _reshaped(step: Step) -> None:
    before, after, old, new = step.slots(0), step.slots(), step.site(0), step.site()
    if old.channel_axis is None or new.channel_axis is None or old.num_channels != new.num_channels:
        fix_all(step)
    elif new.positions % old.positions == 0:
        step.ties.tie(before[np.arange(len(after)) // (new.positions // old.positions)], after, scaled=True)
    elif old.positions % new.positions == 0:
        step.ties.tie(before, after[np.arange(len(before)) // (old.positions // new.positions)], scaled=True)
    else:
        fix_all(step)


def _cat(step: Step) -> None:
    axis, out = step.operation.attributes["dim"], step.site()
    if out.channel_axis is None:
        fix_all(step)
        return
    inputs = [step.slots(index) for index in range(len(step.operation.inputs))]
    if axis == out.channel_axis:
        step.ties.tie(np.concatenate(inputs), step.slots(), scaled=True)
        for part, slots in enumerate(np.split(step.slots(), np.cumsum([len(one) for one in inputs])[:-1])):
            step.ties.mark(slots, np.full(len(slots), part))
        return
    for slots in inputs:
        step.ties.tie(slots, step.slots(), scaled=True)


def _slice(step: Step) -> None:
    attributes, site = step.operation.attributes, step.site(0)
    if site.channel_axis is None or step.site().channel_axis is None:
        fix_all(step)
        return
    before = step.slots(0)
    if attributes["dim"] == site.channel_axis:
        before = before[attributes["start"] : attributes["end"] : attributes["step"]]
    step.ties.tie(before, step.slots(), scaled=True)


def _roll(step: Step) -> None:
    axis = step.site(0).channel_axis
    if axis is not None and axis in step.operation.attributes["dims"]:
        fix_all(step)
    else:
        keeps(NONZERO)(step)


def _pad(step: Step) -> None:
    site, pads = step.site(0), step.operation.attributes["pad"]
    if site.channel_axis is None or site.positions != 1:
        fix_all(step)
        return
    before, after = step.slots(0), step.slots()
    first, last = pads[2 * site.channel_axis : 2 * site.channel_axis + 2]
    kept = before[max(0, -first) : len(before) - max(0, -last)]
    step.ties.tie(kept, after[max(0, first) : max(0, first) + len(kept)], scaled=True)
    if step.operation.attributes["value"] != 0:
        step.ties.allow(after, UNSCALED)


def _channel_shuffle(step: Step) -> None:
    site, groups = step.site(0), step.operation.attributes["groups"]
    if site.channel_axis != 0 or site.positions != 1:
        fix_all(step)
        return
    step.ties.tie(step.slots(0).reshape(groups, -1).T.reshape(-1), step.slots(), scaled=True)


def _parameter(step: Step) -> None:
    axis = step.operation.attributes["channel_axis"]
    if axis is not None:
        step.along("value", axis, step.slots(), (step.slots(), 1))


_PASS = ("permute", "select", "expand", "mul_scalar")
_PASS_POSITIVE = ("relu", "leaky_relu", "abs")
_PASS_SIGN = ("tanh", "sin")
_PASS_UNSCALED = (
    *("relu6", "elu", "selu", "gelu", "silu", "mish", "softplus", "hardswish", "hardsigmoid", "sigmoid"),
    *("log_sigmoid", "exp", "sqrt", "pow", "clamp", "add_scalar", "softmax", "log_softmax"),
)

LAWS: Mapping[str, Law] = MappingProxyType(
    {
        **dict.fromkeys(_PASS, keeps(NONZERO)),
        **dict.fromkeys(_PASS_POSITIVE, keeps(POSITIVE)),
        **dict.fromkeys(("avg_pool2d", "adaptive_avg_pool2d", "interpolate"), _channels_first(keeps(NONZERO))),
        **dict.fromkeys(("max_pool2d", "adaptive_max_pool2d"), _channels_first(keeps(POSITIVE))),
        **dict.fromkeys(_PASS_SIGN, keeps(NEGATION)),
        **dict.fromkeys(_PASS_UNSCALED, keeps(UNSCALED)),
        **dict.fromkeys(("add", "sub"), _sum(NONZERO)),
        **dict.fromkeys(("maximum", "minimum"), _sum(POSITIVE)),
        **dict.fromkeys(("mul", "div"), _product),
        **dict.fromkeys(("mean", "sum"), _reduced(NONZERO)),
        "amax": _reduced(POSITIVE),
        "conv2d": _conv2d,
        "linear": _linear,
        "batch_norm": _channels_first(_batch_norm),
        "channel_affine": _channels_first(_channel_affine),
        "instance_norm": _channels_first(lambda step: _normalizes(step, 0)),
        "group_norm": _channels_first(_group_norm),
        "layer_norm": _layer_norm,
        "prelu": _prelu,
        **dict.fromkeys(("flatten", "reshape"), _reshaped),
        "cat": _cat,
        "slice": _slice,
        "roll": _roll,
        "pad": _pad,
        "channel_shuffle": _channel_shuffle,
        "parameter": _parameter,
    }
)
"""Name of an operation → its law; ``matmul`` and ``scaled_dot_product_attention`` have none yet."""
