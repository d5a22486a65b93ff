"""Elements of a graph's symmetry group, acting on networks of the graph and on changes of their weights.

Slot s becomes scalar(class of s) × the slot that the permutation names. On a weight from slots i to slots o this is
W → q_o W[σ(o), σ(i)] / q_i, on a bias b → q_o b[σ(o)]: linear, so it moves a change of weights as it moves the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.symmetry.graph_symmetry import GraphSymmetry, graph_symmetry
from zoovet.symmetry.ties import NEGATION, POSITIVE, AlongAxis, Matrix, Slots

__all__ = ["Action", "random_action"]


@dataclass(frozen=True, eq=False)
class Action:
    """One group element for each of B networks of a graph.

    Attributes:
        symmetry: Of the graph.
        slots: [B, num_slots] int64: slot s takes the place of slot ``slots[b, s]``.
        scalars: [B, scale classes], none of them 0.

    Whether it keeps the function is not asked here: :func:`random_action` draws only those that do.

    Raises:
        ZoovetError: Shapes do not fit the symmetry, a row is no permutation, or a scalar is 0 or not finite.
    """

    symmetry: GraphSymmetry
    slots: Tensor
    scalars: Tensor

    def __post_init__(self) -> None:
        size = self.slots.shape[0] if self.slots.ndim else 0
        wanted = {"slots": (size, self.symmetry.num_slots), "scalars": (size, self.symmetry.num_classes)}
        for name, shape in wanted.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ZoovetError(f"{name} must have the shape {shape}, got {tuple(getattr(self, name).shape)}")
        straight = torch.arange(self.symmetry.num_slots, device=self.slots.device).expand(size, -1)
        if self.slots.dtype != torch.int64 or not torch.equal(self.slots.sort(dim=1).values, straight):
            raise ZoovetError("every row of slots must be a permutation in int64")
        if not bool((torch.isfinite(self.scalars) & (self.scalars != 0)).all()):
            raise ZoovetError("scalars must be finite and not 0")

    @classmethod
    def identity(cls, graph: Graph, batch_size: int, dtype: torch.dtype = torch.float64) -> Action:
        """The action that changes nothing."""
        symmetry = graph_symmetry(graph)
        slots = torch.arange(symmetry.num_slots).repeat(batch_size, 1)
        return cls(symmetry, slots, torch.ones(batch_size, symmetry.num_classes, dtype=dtype))

    def __len__(self) -> int:
        return self.slots.shape[0]

    def __call__(self, networks: Networks) -> Networks:
        """Act on B networks, or on changes of their weights.

        Args:
            networks: Of the action's graph and number, in any precision and on any device.

        Returns:
            What they become, in their precision and on their device; differentiable with respect to them.

        Raises:
            ZoovetError: The networks are of another graph or number.
        """
        if networks.graph != self.symmetry.graph or len(networks) != len(self):
            raise ZoovetError(
                f"this action is on {len(self)} networks of {self.symmetry.graph.in_words()}, "
                f"got {len(networks)} of {networks.graph.in_words()}"
            )
        if networks.device != self.slots.device:
            return self.to(networks.device)(networks)
        parameters = dict(networks.parameters)
        for use in self.symmetry.uses:
            old = parameters[use.parameter]
            moved = self._along(use, old) if isinstance(use, AlongAxis) else self._on_matrix(use, old)
            parameters[use.parameter] = moved
        return Networks(networks.graph, parameters)

    def to(self, device: torch.device) -> Action:
        """The same action on another device."""
        return replace(self, slots=self.slots.to(device), scalars=self.scalars.to(device))

    def without_scalars(self) -> Action:
        """The permutations of this action alone."""
        return replace(self, scalars=torch.ones_like(self.scalars))

    def without_permutations(self) -> Action:
        """The scalars of this action alone."""
        straight = torch.arange(self.symmetry.num_slots, device=self.slots.device)
        return replace(self, slots=straight.repeat(len(self), 1))

    def _along(self, use: AlongAxis, tensor: Tensor) -> Tensor:
        axis = use.axis + 1
        places = self._places(use.slots)
        factor = torch.ones_like(places, dtype=self.scalars.dtype)
        for slots, exponent in use.factors:
            factor = factor * self._slot_scalars(slots) ** exponent
        shape = [len(self), *(1 for _ in tensor.shape[1:])]
        shape[axis] = places.shape[1]
        taken = tensor.gather(axis, places.view(shape).expand_as(tensor))
        return taken * factor.to(tensor.dtype).view(shape)

    def _on_matrix(self, use: Matrix, tensor: Tensor) -> Tensor:
        rows, columns = self._places(use.rows), self._places(use.columns)
        upper = self._slot_scalars(use.rows).to(tensor.dtype)
        lower = self._slot_scalars(use.columns).to(tensor.dtype)
        kernel = (1,) * (tensor.ndim - 3)
        if use.cells == 1:
            moved = [one[row][:, column] for one, row, column in zip(tensor, rows, columns, strict=True)]
            return torch.stack(moved) * (upper[:, :, None] / lower[:, None, :]).view(*tensor.shape[:3], *kernel)
        per_cell, num_rows = tensor.shape[2], tensor.shape[1]
        cell = torch.arange(num_rows, device=tensor.device) // (num_rows // use.cells)
        read = cell[:, None] * per_cell + torch.arange(
            per_cell, device=tensor.device
        )  # [out, in / cells], among the columns
        local = columns[:, read] % per_cell
        batch = torch.arange(len(self), device=tensor.device)[:, None, None]
        ratios = upper[:, :, None] / lower[:, read]
        return tensor[batch, rows[:, :, None], local] * ratios.view(*ratios.shape, *kernel)

    def _places(self, slots: Slots) -> Tensor:
        """[B, slots], which of these slots, counted from the first, takes the place of each."""
        return self.slots[:, slots] - int(slots[0])

    def _slot_scalars(self, slots: Slots) -> Tensor:
        """[B, slots], what each is multiplied with."""
        return self.scalars[:, self.symmetry.scale_class[slots]]

    def __matmul__(self, first: Action) -> Action:
        """The action of ``first`` and then this one: ``(self @ first)(networks)`` is ``self(first(networks))``."""
        if not isinstance(first, Action):
            return NotImplemented
        if first.symmetry.graph != self.symmetry.graph or len(first) != len(self):
            raise ZoovetError(
                f"only actions on the same networks compose: {len(self)} of {self.symmetry.graph.in_words()}, "
                f"got {len(first)} of {first.symmetry.graph.in_words()}"
            )
        return Action(
            self.symmetry,
            first.slots.gather(1, self.slots),
            self.scalars * first.scalars.gather(1, self._class_places),
        )

    def inverse(self) -> Action:
        """The action that undoes this one."""
        back = Action(self.symmetry, self.slots.argsort(dim=1), self.scalars)
        return Action(self.symmetry, back.slots, 1 / self.scalars.gather(1, back._class_places))

    @cached_property
    def _class_places(self) -> Tensor:
        """[B, scale classes], the class that takes the place of each."""
        classes = torch.from_numpy(self.symmetry.scale_class).to(self.slots.device)
        return classes[self.slots[:, self.symmetry.representatives]]


def random_action(
    graph: Graph | GraphSymmetry,
    batch_size: int,
    generator: torch.Generator,
    *,
    max_log_scale: float = 3.0,
    permute: bool = True,
    rescale: bool = True,
    dtype: torch.dtype = torch.float64,
) -> Action:
    """Draw an action that keeps the function, another one for each network.

    Args:
        graph: Of the networks to act on; or a symmetry, which is believed.
        batch_size: Their number B.
        generator: Source of all randomness; the action lies on its device.
        max_log_scale: Sizes of scalars are log-uniform in e^±max_log_scale.
        permute: Draw permutations; otherwise channels stay in place.
        rescale: Draw scalars; otherwise all are 1.
        dtype: Of the scalars.

    Raises:
        ZoovetError: ``max_log_scale`` is negative.
    """
    if max_log_scale < 0:
        raise ZoovetError(f"max_log_scale must not be negative, got {max_log_scale}")
    symmetry = graph if isinstance(graph, GraphSymmetry) else graph_symmetry(graph)
    device = generator.device
    slots = torch.arange(symmetry.num_slots, device=device).repeat(batch_size, 1)
    for group in symmetry.groups if permute else ():
        members = torch.from_numpy(group.slots).to(device)
        size = (batch_size, group.size)
        order = torch.rand(size, generator=generator, device=device, dtype=torch.float64).argsort(dim=1)
        slots[:, members] = members[order]
    scalars = torch.ones(batch_size, symmetry.num_classes, device=device, dtype=dtype)
    if rescale:
        positive, signed = (torch.from_numpy((symmetry.allowed & bit) != 0).to(device) for bit in (POSITIVE, NEGATION))
        uniform = torch.rand(scalars.shape, generator=generator, device=device, dtype=dtype)
        sizes = torch.exp(max_log_scale * (2 * uniform - 1))
        signs = 2.0 * torch.randint(2, scalars.shape, generator=generator, device=device).to(dtype) - 1
        scalars = torch.where(positive, sizes, scalars) * torch.where(signed, signs, torch.ones_like(signs))
    return Action(symmetry, slots, scalars)
