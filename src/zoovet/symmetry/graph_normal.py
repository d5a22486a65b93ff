"""A normal form under scalings: of all networks that differ by positive scalars of channels, one."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.networks.graph_batch import GraphNetworks
from zoovet.symmetry.graph_actions import GraphAction
from zoovet.symmetry.graph_symmetry import graph_symmetry
from zoovet.symmetry.ties import POSITIVE, AlongAxis, Matrix, Slots

__all__ = ["normal_scales"]


def normal_scales(networks: GraphNetworks) -> GraphNetworks:
    """Scale every channel that positive numbers may scale so that the weights into it have the norm 1.

    A channel's weights are those of the first operation that writes into its scale class, what they read being in
    normal form already; where they are all 0, its bias, or what the next operation writes. Channels into which nothing
    but zeros lead stay as they are. The function stays; networks that an action's positive scalars and permutations
    lead into each other have normal forms that its permutations lead into each other.

    Args:
        networks: B networks, in any precision.

    Returns:
        Networks of the same functions.
    """
    return _Normal(networks).action()(networks)


class _Normal:
    """Scalars of B networks' scale classes, found from the first operation to the last."""

    def __init__(self, networks: GraphNetworks) -> None:
        symmetry = graph_symmetry(networks.graph)
        self._symmetry = symmetry
        scalable = torch.from_numpy((symmetry.allowed & POSITIVE) != 0)
        self._is_open = scalable.expand(len(networks), -1).clone()
        self._scalars = torch.ones(len(networks), symmetry.num_classes, dtype=torch.float64)
        for use in symmetry.uses:
            tensor = networks.parameters[use.parameter].detach().double()
            if isinstance(use, Matrix):
                self._close(use.rows, self._squares_of_rows(use, tensor))
            else:
                self._close_along(use, tensor)

    def action(self) -> GraphAction:
        """The scalings that lead into the normal form."""
        slots = torch.arange(self._symmetry.num_slots).repeat(len(self._scalars), 1)
        return GraphAction(self._symmetry, slots, self._scalars)

    def _classes(self, slots: Slots) -> Tensor:
        return torch.from_numpy(self._symmetry.scale_class[slots])

    def _squares_of_rows(self, use: Matrix, tensor: Tensor) -> Tensor:
        """[B, rows], sums of the squares of what each row will be before its own scalar."""
        squares = tensor.flatten(3).square().sum(3) if tensor.ndim > 3 else tensor.square()
        columns = self._classes(use.columns)
        # What no weight has led into so far is 0, whatever is read of it.
        inverse = torch.where(self._is_open[:, columns], 0.0, self._scalars[:, columns].square().reciprocal())
        cells = squares.unflatten(1, (use.cells, -1)) * inverse.unflatten(1, (use.cells, -1))[:, :, None, :]
        totals: Tensor = cells.sum(3).flatten(1)
        return totals

    def _close_along(self, use: AlongAxis, tensor: Tensor) -> None:
        values = tensor.movedim(use.axis + 1, 1).square().unsqueeze(-1).flatten(2).sum(2)
        for slots, exponent in use.factors:
            if exponent != 1:
                values = values * self._scalars[:, self._classes(slots)].square() ** exponent
        for slots, exponent in use.factors:
            if exponent == 1:
                self._close(slots, values)

    def _close(self, slots: Slots, squares: Tensor) -> None:
        """Settle the scalars of the slots' classes that are open still, where the squares are not 0."""
        totals = torch.zeros_like(self._scalars).index_add_(1, self._classes(slots), squares)
        found = self._is_open & (totals > 0)
        self._scalars = torch.where(found, totals.clamp_min(torch.finfo(torch.float64).tiny).rsqrt(), self._scalars)
        self._is_open = self._is_open & ~found
