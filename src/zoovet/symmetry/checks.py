"""Is a metanetwork invariant or equivariant? For anyone's metanetwork: any callable that reads networks.

The checks run in float64, where a metanetwork that respects the symmetries deviates by rounding alone (1e-15 to
1e-12) and any other by far more than the tolerance. They refuse to pass a metanetwork whose output hardly depends
on the weights: it would deviate by nothing whether it respects the symmetries or not.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError, nearest
from zoovet.networks.batch import Networks
from zoovet.symmetry.actions import Action
from zoovet.symmetry.checked_networks import (
    Declared,
    description,
    draw_action,
    has_scalars,
    with_other_weights,
)
from zoovet.symmetry.deviations import (
    deviation_of_changes,
    deviation_of_outputs,
    read_changes,
    read_outputs,
    relative_difference,
)

__all__ = ["Deviations", "assert_equivariant", "assert_invariant", "deviation_equivariant", "deviation_invariant"]

Mode = Literal["eval", "train", "both"]
_Part = TypeVar("_Part", Tensor, Networks)

_NEEDED_SIGNAL = 1e4
"""The output must depend on the weights by this many times the tolerance, relative to its own size."""
_REPEATABLE = 1e-12
"""Two runs on the same networks may differ by this, relative (sums in another order on a GPU)."""


@dataclass(frozen=True, kw_only=True)
class Deviations:
    """How far a metanetwork is from respecting the symmetries, relative to its output's size.

    Attributes:
        permutation: Largest deviation under permutations alone.
        scaling: Largest deviation under scalars alone (0 where no group may be scaled).
        both: Largest deviation under both together (0 where no group may be scaled).
        signal: How much the output depends on the weights: its change between the networks and ones with other
            weights, relative to its size; the smallest over the graphs.
        worst: Description of the graph with the largest deviation.
    """

    permutation: float
    scaling: float
    both: float
    signal: float
    worst: str

    @property
    def largest(self) -> float:
        """The largest deviation of the three kinds."""
        return max(self.permutation, self.scaling, self.both)


@dataclass(frozen=True, kw_only=True)
class _Options:
    seed: int
    num_actions: int
    max_log_scale: float
    symmetry: Declared
    mode: Mode

    def __post_init__(self) -> None:
        for name, value, known in (
            ("symmetry", self.symmetry, ("groups", "network", "permutation")),
            ("mode", self.mode, ("eval", "train", "both")),
        ):
            if value not in known:
                raise ZoovetError(f"{name} {value!r} is unknown{nearest(str(value), known)}")
        if self.num_actions < 1:
            raise ZoovetError(f"num_actions must be at least 1, got {self.num_actions}")


def deviation_invariant(
    metanetwork: Callable[[Any], Any],
    networks: Networks | Sequence[Networks],
    *,
    seed: int = 0,
    num_actions: int = 2,
    max_log_scale: float = 3.0,
    symmetry: Declared = "groups",
    mode: Mode = "both",
) -> Deviations:
    """Measure how far a metanetwork's output moves under actions that keep the networks' functions.

    Args:
        metanetwork: Reads ``Networks`` or ``Networks`` and returns [B, …] in their precision; or reads a list of
            them and returns [sum of B, …] in the list's order. A ``torch.nn.Module`` is copied and run in float64, its
            dropout off; anything else must itself compute in the precision of the networks that it is given.
        networks: What to try it on. A list is given to the metanetwork as a list, in one call.
        seed: Of all randomness here.
        num_actions: Random actions of each kind; each moves every network differently.
        max_log_scale: Scalings are log-uniform in e^±this.
        symmetry: Which symmetries the metanetwork is held to: ``groups``, all that each channel group has;
            ``network``, what all that is free in a network shares; ``permutation``, permutations alone.
        mode: Run modules in ``eval`` or ``train`` mode or in ``both``. Other callables know no mode.

    Returns:
        max |f(g·x) − f(x)| / max |f(x)| of the worst graph, where the maxima run over its networks and all outputs.

    Raises:
        AssertionError: The output is not finite, or differs between two runs on the same networks.
        ZoovetError: An option is unknown, no networks are given, or the output is not a float64 tensor [B, …].
    """
    options = _Options(seed=seed, num_actions=num_actions, max_log_scale=max_log_scale, symmetry=symmetry, mode=mode)
    return _measure(metanetwork, networks, read_outputs, lambda old, new, _: deviation_of_outputs(old, new), options)


def deviation_equivariant(
    metanetwork: Callable[[Any], Any],
    networks: Networks | Sequence[Networks],
    *,
    seed: int = 0,
    num_actions: int = 2,
    max_log_scale: float = 3.0,
    symmetry: Declared = "groups",
    mode: Mode = "both",
) -> Deviations:
    """Measure how far a metanetwork's weight changes are from moving with the weights.

    Args:
        metanetwork: Reads ``Networks`` or ``Networks`` and returns changes of their weights as such, or reads and
            returns lists of them.
        networks, seed, num_actions, max_log_scale, symmetry, mode: As for :func:`deviation_invariant`.

    Returns:
        For each weight and bias tensor the larger of two measures, and of these the largest: max |f(g·x) − g·f(x)|
        / max |g·f(x)| over the tensor; and, as scaled entries span e^±2·max_log_scale so that the largest would
        hide the rest, |g⁻¹·f(g·x) − f(x)| relative to the largest entry of |f(x)| in the same row (destination
        channel), over all networks of the graph. Rows below 1e-3 of their tensor and tensors below 1e-6 of the
        largest are measured against that.

    Raises:
        AssertionError: As for :func:`deviation_invariant`.
        ZoovetError: As for :func:`deviation_invariant`, or the changes do not have the networks' graph and number.
    """
    options = _Options(seed=seed, num_actions=num_actions, max_log_scale=max_log_scale, symmetry=symmetry, mode=mode)
    return _measure(metanetwork, networks, read_changes, deviation_of_changes, options)


def assert_invariant(
    metanetwork: Callable[[Any], Any],
    networks: Networks | Sequence[Networks],
    *,
    tolerance: float = 1e-10,
    seed: int = 0,
    num_actions: int = 2,
    max_log_scale: float = 3.0,
    symmetry: Declared = "groups",
    mode: Mode = "both",
) -> None:
    """Assert that a metanetwork's output does not change under actions that keep the networks' functions.

    Args:
        metanetwork, networks, seed, num_actions, max_log_scale, symmetry, mode: As for
            :func:`deviation_invariant`.
        tolerance: Largest deviation allowed, relative.

    Raises:
        AssertionError: It does change (the message says under what, and by how much); or the output does not
            depend on the weights, is not finite, or is random, so that the check would mean nothing.
        ZoovetError: As for :func:`deviation_invariant`.
    """
    deviations = deviation_invariant(
        metanetwork,
        networks,
        seed=seed,
        num_actions=num_actions,
        max_log_scale=max_log_scale,
        symmetry=symmetry,
        mode=mode,
    )
    _judge(deviations, tolerance, "invariant")


def assert_equivariant(
    metanetwork: Callable[[Any], Any],
    networks: Networks | Sequence[Networks],
    *,
    tolerance: float = 1e-10,
    seed: int = 0,
    num_actions: int = 2,
    max_log_scale: float = 3.0,
    symmetry: Declared = "groups",
    mode: Mode = "both",
) -> None:
    """Assert that a metanetwork's weight changes move with the weights: f(g·x) = g·f(x).

    Args:
        metanetwork, networks, seed, num_actions, max_log_scale, symmetry, mode: As for
            :func:`deviation_equivariant`.
        tolerance: Largest deviation allowed, relative.

    Raises:
        AssertionError: They do not (the message says under what, and by how much); or the changes are zero, do
            not depend on the weights, are not finite, or are random, so that the check would mean nothing.
        ZoovetError: As for :func:`deviation_equivariant`.
    """
    deviations = deviation_equivariant(
        metanetwork,
        networks,
        seed=seed,
        num_actions=num_actions,
        max_log_scale=max_log_scale,
        symmetry=symmetry,
        mode=mode,
    )
    _judge(deviations, tolerance, "equivariant")


def _judge(deviations: Deviations, tolerance: float, expected: str) -> None:
    needed = _NEEDED_SIGNAL * tolerance
    if not deviations.signal >= needed:
        raise AssertionError(
            f"the check would be meaningless: the metanetwork's output hardly depends on the weights (networks with "
            f"other weights change it by {deviations.signal:.1e} relative; at least {needed:.0e} is needed for a "
            f"tolerance of {tolerance:.0e}). Is its output constant or zero? Give it other parameters or networks"
        )
    if deviations.largest <= tolerance:
        return
    alone = {"permutations": deviations.permutation, "scalings": deviations.scaling}
    broken_by = [name for name, deviation in alone.items() if not deviation <= tolerance]
    raise AssertionError(
        f"the metanetwork is not {expected}: {' and '.join(broken_by) or 'permutations together with scalings'} break "
        f"it. Relative deviation under permutations alone {deviations.permutation:.1e}, scalings alone "
        f"{deviations.scaling:.1e}, both {deviations.both:.1e}; tolerance {tolerance:.0e}. Worst: {deviations.worst}"
    )


def _measure(
    metanetwork: Callable[[Any], Any],
    networks: Networks | Sequence[Networks],
    read: Callable[[Any, Sequence[Networks]], list[_Part]],
    deviation_of: Callable[[_Part, _Part, Action], float],
    options: _Options,
) -> Deviations:
    is_single = isinstance(networks, Networks)
    given = [networks] if isinstance(networks, Networks) else list(networks)
    if not given or any(len(batch) == 0 for batch in given):
        raise ZoovetError("a symmetry check needs at least one network of every graph, got none")
    batches = [batch.detach().to(dtype=torch.float64) for batch in given]

    def outputs(runner: Callable[[Any], Any], inputs: Sequence[Networks]) -> list[_Part]:
        with torch.no_grad():
            return read(runner(inputs[0] if is_single else list(inputs)), inputs)

    found: dict[str, list[tuple[float, str]]] = {kind: [(0.0, "")] for kind in ("permutation", "scaling", "both")}
    signals = []
    for runner in _runners(metanetwork, options.mode):
        generator = torch.Generator().manual_seed(options.seed)
        before = outputs(runner, batches)
        _require_usable(before, outputs(runner, batches), batches)
        others = outputs(runner, [with_other_weights(batch, generator) for batch in batches])
        signals += [relative_difference(*pair) for pair in zip(before, others, strict=True)]
        for kind, actions in _draw_actions(batches, generator, options):
            after = outputs(runner, [action(batch) for action, batch in zip(actions, batches, strict=True)])
            for action, batch, old, new in zip(actions, batches, before, after, strict=True):
                found[kind].append((deviation_of(old, new, action), description(batch)))
    return Deviations(
        permutation=max(found["permutation"])[0],
        scaling=max(found["scaling"])[0],
        both=max(found["both"])[0],
        signal=min(signals),
        worst=max(max(items) for items in found.values())[1],
    )


def _runners(metanetwork: Callable[[Any], Any], mode: Mode) -> Iterator[Callable[[Any], Any]]:
    """The metanetwork in each mode; a module as a copy in float64, with dropout off in every mode."""
    if not isinstance(metanetwork, nn.Module):
        yield metanetwork
        return
    for one in ("eval", "train") if mode == "both" else (mode,):
        module = copy.deepcopy(metanetwork).double().train(one == "train")
        for part in module.modules():
            if isinstance(part, nn.modules.dropout._DropoutNd):
                part.eval()
        yield module


def _draw_actions(
    batches: Sequence[Networks], generator: torch.Generator, options: _Options
) -> Iterator[tuple[str, list[Action]]]:
    scaled = any(has_scalars(batch, options.symmetry) for batch in batches)
    for _ in range(options.num_actions):
        both = [draw_action(batch, generator, options.symmetry, options.max_log_scale) for batch in batches]
        yield "permutation", [action.without_scalars() for action in both]
        if scaled:
            yield "scaling", [action.without_permutations() for action in both]
            yield "both", both


def _require_usable(before: Sequence[_Part], again: Sequence[_Part], batches: Sequence[Networks]) -> None:
    for first, second, batch in zip(before, again, batches, strict=True):
        deviation = relative_difference(first, second)
        if math.isnan(deviation):
            raise AssertionError(
                f"the check would be meaningless: the metanetwork's output is not finite on {description(batch)}"
            )
        if deviation > _REPEATABLE:
            raise AssertionError(
                f"the metanetwork is random: two runs on the same networks differ by {deviation:.1e} relative on "
                f"{description(batch)}. Turn its random parts off, or check it with mode='eval'"
            )
