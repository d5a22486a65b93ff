"""Elements of the symmetry group, acting on networks and on changes of their weights.

An action permutes the channels of every group and multiplies them by scalars. On a block from the source group s
to the target group t it is W → Q_t P_t W P_sᵀ Q_s⁻¹, b → Q_t P_t b: linear, so it moves a change of the weights
exactly as it moves the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.symmetry.groups import Symmetry, group_symmetries

__all__ = ["Action", "random_action"]


@dataclass(frozen=True, eq=False)
class Action:
    """One group element for each of B networks: channel i becomes ``scalars[i]`` × channel ``permutations[i]``.

    Attributes:
        spec: Of the networks it acts on.
        permutations: For each of ``spec.groups``, [B, size] int64; row b is a permutation of 0 … size − 1.
        scalars: For each of ``spec.groups``, [B, size], none of them 0.

    Whether the scalars keep the function is not asked here: :func:`random_action` draws only those that do.

    Raises:
        ZoovetError: The number of groups or a shape does not fit the spec, a row is no permutation, a scalar is 0
            or not finite.
    """

    spec: Graph
    permutations: tuple[Tensor, ...]
    scalars: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "permutations", tuple(self.permutations))
        object.__setattr__(self, "scalars", tuple(self.scalars))
        groups = self.spec.chain.groups
        if len(self.permutations) != len(groups) or len(self.scalars) != len(groups):
            raise ZoovetError(
                f"the spec has {len(groups)} channel groups, got {len(self.permutations)} permutations "
                f"and {len(self.scalars)} scalars"
            )
        size = self.permutations[0].shape[0] if self.permutations[0].ndim else 0
        for index, (group, permutation, scalars) in enumerate(
            zip(groups, self.permutations, self.scalars, strict=True)
        ):
            for name, tensor in (("permutations", permutation), ("scalars", scalars)):
                if tuple(tensor.shape) != (size, group.size):
                    raise ZoovetError(
                        f"{name}[{index}] must have the shape {(size, group.size)} (networks, channels of the group), "
                        f"got {tuple(tensor.shape)}"
                    )
            straight = _unpermuted(size, group.size, permutation.device)
            if permutation.dtype != torch.int64 or not torch.equal(permutation.sort(dim=1).values, straight):
                raise ZoovetError(
                    f"every row of permutations[{index}] must be a permutation of 0 … {group.size - 1} in int64"
                )
            if not bool((torch.isfinite(scalars) & (scalars != 0)).all()):
                raise ZoovetError(f"scalars[{index}] must be finite and not 0")

    @classmethod
    def identity(cls, spec: Graph, batch_size: int, dtype: torch.dtype = torch.float64) -> Action:
        """The action that changes nothing."""
        return cls(
            spec,
            tuple(_unpermuted(batch_size, group.size) for group in spec.chain.groups),
            tuple(torch.ones(batch_size, group.size, dtype=dtype) for group in spec.chain.groups),
        )

    def __call__(self, networks: Networks) -> Networks:
        """Act on B networks, or on changes of their weights.

        Args:
            networks: Of the action's spec and number, in any precision and on any device.

        Returns:
            What they become, in their precision and on their device; differentiable with respect to them.

        Raises:
            ZoovetError: The networks are of another spec or number.
        """
        if networks.graph != self.spec or len(networks) != len(self):
            raise ZoovetError(
                f"this action is on {len(self)} networks {self.spec.describe()}, "
                f"got {len(networks)} of {networks.graph.describe()}"
            )
        device = networks.device
        permutations = [permutation.to(device) for permutation in self.permutations]
        scalars = [scalars.to(device) for scalars in self.scalars]
        batch = torch.arange(len(self), device=device)[:, None, None]
        weights, biases = list(networks.weights), list(networks.biases)
        for block in self.spec.chain.blocks:
            rows, columns = permutations[block.target], permutations[block.source]
            ratios = (scalars[block.target][:, :, None] / scalars[block.source][:, None, :]).to(networks.dtype)
            weight = networks.weights[block.layer]
            weights[block.layer] = weight[batch, rows[:, :, None], columns[:, None, :]] * ratios.reshape(
                *ratios.shape, *(1 for _ in weight.shape[3:])
            )
            factors = scalars[block.target].to(networks.dtype)
            biases[block.layer] = networks.biases[block.layer].gather(1, rows) * factors
        return Networks.from_layers(networks.graph, tuple(weights), tuple(biases))

    def __matmul__(self, first: Action) -> Action:
        """The action of ``first`` and then this one: ``(self @ first)(networks)`` is ``self(first(networks))``."""
        if not isinstance(first, Action):
            return NotImplemented
        if first.spec != self.spec or len(first) != len(self):
            raise ZoovetError(
                f"only actions on the same networks compose: {len(self)} of {self.spec.describe()}, "
                f"got {len(first)} of {first.spec.describe()}"
            )
        pairs = list(zip(self.permutations, first.permutations, strict=True))
        return Action(
            self.spec,
            tuple(before.gather(1, after) for after, before in pairs),
            tuple(
                own * others.gather(1, after)
                for own, others, after in zip(self.scalars, first.scalars, self.permutations, strict=True)
            ),
        )

    def inverse(self) -> Action:
        """The action that undoes this one."""
        permutations = tuple(permutation.argsort(dim=1) for permutation in self.permutations)
        scalars = zip(self.scalars, permutations, strict=True)
        return Action(self.spec, permutations, tuple(1 / own.gather(1, back) for own, back in scalars))

    def without_scalars(self) -> Action:
        """The permutations of this action alone."""
        return replace(self, scalars=tuple(map(torch.ones_like, self.scalars)))

    def without_permutations(self) -> Action:
        """The scalars of this action alone."""
        groups = zip(self.spec.chain.groups, self.permutations, strict=True)
        return replace(
            self,
            permutations=tuple(_unpermuted(len(self), group.size, old.device) for group, old in groups),
        )

    def __len__(self) -> int:
        return self.permutations[0].shape[0]


def random_action(
    spec: Graph,
    batch_size: int,
    generator: torch.Generator,
    *,
    symmetries: Sequence[Symmetry] | None = None,
    max_log_scale: float = 3.0,
    permute: bool = True,
    rescale: bool = True,
    dtype: torch.dtype = torch.float64,
) -> Action:
    """Draw an action, another one for each network.

    Permutations are uniform; the size of scalars is log-uniform in e^±max_log_scale where sizes may change, their
    sign uniform where signs may.

    Args:
        spec: Of the networks to act on.
        batch_size: Their number B.
        generator: Source of all randomness; the action lies on its device.
        symmetries: One for each of ``spec.groups``; by default all that keeps the function
            (:func:`~zoovet.symmetry.groups.group_symmetries`).
        max_log_scale: Bound of |log q|.
        permute: Draw permutations; otherwise channels stay in place.
        rescale: Draw scalars; otherwise all are 1.
        dtype: Of the scalars.

    Returns:
        The action.

    Raises:
        ZoovetError: The number of symmetries is not that of the groups, or ``max_log_scale`` is negative.
    """
    symmetries = group_symmetries(spec) if symmetries is None else tuple(symmetries)
    if len(symmetries) != len(spec.chain.groups):
        raise ZoovetError(f"the spec has {len(spec.chain.groups)} channel groups, got {len(symmetries)} symmetries")
    if max_log_scale < 0:
        raise ZoovetError(f"max_log_scale must not be negative, got {max_log_scale}")
    permutations, scalars = [], []
    for group, symmetry in zip(spec.chain.groups, symmetries, strict=True):
        size = (batch_size, group.size)
        moved = permute and symmetry != "fixed"
        permutations.append(
            torch.rand(size, generator=generator, device=generator.device, dtype=torch.float64).argsort(dim=1)
            if moved
            else _unpermuted(*size, generator.device)
        )
        scalars.append(_random_scalars(size, symmetry if rescale else "fixed", generator, max_log_scale, dtype))
    return Action(spec, tuple(permutations), tuple(scalars))


def _random_scalars(
    size: tuple[int, int],
    symmetry: Symmetry,
    generator: torch.Generator,
    max_log_scale: float,
    dtype: torch.dtype,
) -> Tensor:
    device = generator.device
    scalars = torch.ones(size, device=device, dtype=dtype)
    if symmetry in ("scale", "nonzero"):
        uniform = torch.rand(size, generator=generator, device=device, dtype=dtype)
        scalars = scalars * torch.exp(max_log_scale * (2 * uniform - 1))
    if symmetry in ("sign", "nonzero"):
        scalars = scalars * (2 * torch.randint(2, size, generator=generator, device=device) - 1)
    return scalars


def _unpermuted(batch_size: int, size: int, device: torch.device | None = None) -> Tensor:
    return torch.arange(size, device=device).repeat(batch_size, 1)
