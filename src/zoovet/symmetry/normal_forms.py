"""A normal form under scalings: of all networks that differ by positive scalars of channels, one."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.networks.batch import Networks
from zoovet.symmetry.actions import Action
from zoovet.symmetry.graph_symmetry import graph_symmetry
from zoovet.symmetry.ties import POSITIVE, AlongAxis, Matrix, Slots

__all__ = ["normal_scales", "normalizing_action"]


def normal_scales(networks: Networks) -> Networks:
    """Scale every channel that positive numbers may scale so that the weights into it have the norm 1.

    A channel's weights are those of the first operation that writes into its scale class, what they read being in
    normal form already. Where they are all 0, its offset gets the size 1, or else the weights that read the channel.
    The function stays; networks that an action's positive scalars and permutations lead into each other have normal
    forms that its permutations lead into each other.

    Args:
        networks: B networks, in any precision.

    Returns:
        Networks of the same functions.
    """
    return normalizing_action(networks)(networks)


def normalizing_action(networks: Networks) -> Action:
    """The scalings that lead B networks into their normal form."""
    return _Normal(networks).action()


class _Normal:
    """Scalars of B networks' scale classes, found from the first operation to the last."""

    def __init__(self, networks: Networks) -> None:
        symmetry = graph_symmetry(networks.graph)
        self._symmetry = symmetry
        scalable = torch.from_numpy((symmetry.allowed & POSITIVE) != 0)
        self._is_open = scalable.expand(len(networks), -1).clone()
        self._scalars = torch.ones(len(networks), symmetry.num_classes, dtype=torch.float64)
        for use in symmetry.uses:
            tensor = networks.parameters[use.parameter].detach().double()
            if isinstance(use, Matrix):
                self._close_matrix(use, tensor)
            else:
                self._close_along(use, tensor)

    def action(self) -> Action:
        """The scalings that lead into the normal form."""
        slots = torch.arange(self._symmetry.num_slots).repeat(len(self._scalars), 1)
        return Action(self._symmetry, slots, self._scalars)

    def _classes(self, slots: Slots) -> Tensor:
        return torch.from_numpy(self._symmetry.scale_class[slots])

    def _close_matrix(self, use: Matrix, tensor: Tensor) -> None:
        squares = tensor.flatten(3).square().sum(3) if tensor.ndim > 3 else tensor.square()
        cells = squares.unflatten(1, (use.cells, -1))  # [B, cells, out / cells, in / cells]
        read = self._settled(use.columns, -1).unflatten(1, (use.cells, -1))
        self._close(use.rows, (cells * read[:, :, None, :]).sum(3).flatten(1))
        made = self._settled(use.rows, 1).unflatten(1, (use.cells, -1))
        self._close(use.columns, (cells * made[..., None]).sum(2).flatten(1), divides=True)

    def _close_along(self, use: AlongAxis, tensor: Tensor) -> None:
        squares = tensor.movedim(use.axis + 1, 1).square().unsqueeze(-1).flatten(2).sum(2)
        for slots, exponent in use.factors:
            rest = squares
            for others, power in use.factors:
                if power != exponent:
                    rest = rest * self._settled(others, power)
            self._close(slots, rest, divides=exponent < 0)

    def _settled(self, slots: Slots, power: int) -> Tensor:
        """[B, slots], squares of scalars to a power; 0 for those that are not settled, whose channel is 0 so far."""
        classes = self._classes(slots)
        return torch.where(self._is_open[:, classes], 0.0, self._scalars[:, classes].square() ** power)

    def _close(self, slots: Slots, squares: Tensor, *, divides: bool = False) -> None:
        """Settle the scalars of the slots' classes that are open still, where the squares are not 0.

        ``divides``: the squares are of what is divided by the scalars.
        """
        totals = torch.zeros_like(self._scalars).index_add_(1, self._classes(slots), squares)
        found = self._is_open & (totals > 0)
        sizes = totals.clamp_min(torch.finfo(torch.float64).tiny).sqrt()
        self._scalars = torch.where(found, sizes if divides else 1 / sizes, self._scalars)
        self._is_open = self._is_open & ~found
