"""Layers that respect the scalars of a node: canonicalization, invariant and equivariant layers.

Source: Kalogeropoulos et al. 2024, *Scale Equivariant Graph Metanetworks*, section 5. Shapes: R rows (nodes or edges),
d features, h hidden features of an MLP.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoovet.metanets.config import ReleasedBehaviour, ScaleGMNConfig
from zoovet.metanets.fused import Shape, product_linears
from zoovet.metanets.mlp import MLP, Linear
from zoovet.metanets.reciprocal_norm import reciprocal_norm

__all__ = [
    "EquivariantLayer",
    "Invariant",
    "IoMlps",
    "branch_of",
    "branches_of",
    "canonical_linear",
    "canonical_norm",
    "squared_norm",
]


def branches_of(config: ScaleGMNConfig, behaviour: ReleasedBehaviour) -> tuple[str, ...]:
    """The canonicalizations that a model has."""
    return behaviour.branches if config.symmetry == "mixed" else (config.symmetry,)


def branch_of(symmetry: str) -> str:
    """The canonicalization that serves a symmetry; for q ≠ 0 that of signs, on normalized features."""
    return "sign" if symmetry == "nonzero" else symmetry


def canonical_norm(width: int, behaviour: ReleasedBehaviour) -> float:
    """The norm that the scale canonicalization gives to rows of this width: features of size 1, or a unit vector."""
    return 1.0 if behaviour.unit_norm else math.sqrt(width)


class Invariant(nn.Module):
    """φ([canon(x), p]): does not change with the scalars of a node.

    It is computed without what cancels or folds: the norm is divided out after the first product; ρ(x) + ρ(−x) shares
    the first product up to its sign and is summed before ρ's last linear map, which is folded into φ's first.

    Attributes:
        rho: The MLP of the symmetrized sign canonicalization ρ(x) + ρ(−x), or ``None``.
        phi: The MLP after the canonicalization.
    """

    def __init__(
        self,
        branch: str,
        in_width: int,
        extra_width: int,
        out_width: int,
        config: ScaleGMNConfig,
        behaviour: ReleasedBehaviour,
        *,
        bias_value: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_width = in_width
        self.norm_constant = behaviour.norm_constant
        self.numerator = canonical_norm(in_width, behaviour)
        self.rho = MLP(in_width, in_width, config) if branch == "sign" and config.symmetrize else None
        self.phi = MLP(in_width + extra_width, out_width, config, bias_value=bias_value)
        self.is_absolute = branch == "sign" and self.rho is None

    @property
    def first_weight(self) -> Tensor:
        """The matrix [h, d] that meets x, or |x| where :attr:`is_absolute`, first."""
        return self.phi.first.weight[:, : self.in_width] if self.rho is None else self.rho.first.weight

    def after_first(
        self,
        first: Tensor,
        squares: Tensor | None,
        extra: Tensor | None,
        *,
        to_hidden: bool = False,
    ) -> Tensor:
        """The rest of φ(canon(x)) once x has met :attr:`first_weight`.

        Args:
            first: [R, h].
            squares: ‖x‖² [R, 1] where x is to be normalized (symmetries scale and nonzero), or ``None``.
            extra: [R, h], what further invariant features contribute to φ's first linear map, or ``None``.
            to_hidden: Stop before φ's last linear map.

        Returns:
            [R, out], or [R, h].
        """
        scale = None if squares is None else reciprocal_norm(squares, self.norm_constant, self.numerator)
        shift = self.phi.shift(extra)
        if self.rho is not None:
            weight = self.phi.first.weight[:, : self.in_width]
            assert self.rho.last.bias is not None
            shift = shift + 2 * (weight @ self.rho.last.bias)
            folded = weight @ self.rho.last.weight
            first, scale = self.rho.activate(first, scale, self.rho.shift(), folded, symmetric=True), None
        return self.phi.activate(first, scale, shift) if to_hidden else self.phi.after_first(first, scale, shift)

    def hidden(self, x: Tensor, *, normalize: bool) -> Tensor:
        """φ(canon(x)) of rows [R, d] up to φ's last linear map: [R, h]."""
        first = F.linear(x.abs() if self.is_absolute else x, self.first_weight)
        return self.after_first(first, squared_norm(x) if normalize else None, None, to_hidden=True)


def squared_norm(x: Tensor) -> Tensor:
    """‖x‖² of rows [R, d]: [R, 1]."""
    squares: Tensor = torch.linalg.vecdot(x, x)
    return squares.unsqueeze(1)


def canonical_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, branch: str, rho: MLP | None, scale: Tensor | None
) -> Tensor:
    """A linear map of canonicalized rows, folded as in :class:`Invariant`.

    Args:
        x: [R, d].
        weight: [h, d].
        bias: [h] or ``None``.
        branch: ``scale``, ``sign`` or ``permutation``.
        rho: The MLP of the symmetrized sign canonicalization; ``None`` for |x|.
        scale: [R, 1], to normalize the rows with, or ``None``.

    Returns:
        ``weight`` · canon(x) + ``bias``, [R, h].
    """
    if branch == "sign" and rho is not None:
        assert rho.last.bias is not None
        constant = 2 * (weight @ rho.last.bias)
        folded_bias = constant if bias is None else bias + constant
        first = F.linear(x, rho.first.weight)
        return rho.activate(first, scale, rho.shift(), weight @ rho.last.weight, folded_bias, symmetric=True)
    x = x.abs() if branch == "sign" else x
    if scale is None:
        return F.linear(x, weight, bias)
    product = F.linear(x, weight) * scale
    return product if bias is None else product + bias


@dataclass(frozen=True)
class IoMlps:
    """How input and output nodes are served, and the initial size of Γ: see :class:`EquivariantLayer`."""

    replaces_layer: bool
    num_mlps: int
    gain: float = 1.0


@dataclass(frozen=True)
class FirstMap:
    """The linear maps that an equivariant layer's input x meets first.

    Attributes:
        gamma: Γ [out, d], or ``None`` where an MLP replaces the layer.
        weight: [h, d].
        is_absolute: ``weight`` meets |x|.
        normalizes: ‖x‖² is needed as well.
    """

    gamma: Tensor | None
    weight: Tensor
    is_absolute: bool
    normalizes: bool


class EquivariantLayer(nn.Module):
    """(Γ x) ⊙ φ([canon(x), p]) for hidden nodes; with MLPs of the raw features for input and output nodes.

    There the MLP replaces the whole layer (``replaces_layer``), or only the invariant factor.
    """

    def __init__(
        self,
        in_width: int,
        extra_width: int,
        out_width: int,
        io: IoMlps,
        config: ScaleGMNConfig,
        behaviour: ReleasedBehaviour,
    ) -> None:
        super().__init__()
        self.in_width = in_width
        self.replaces_layer = io.replaces_layer
        self.gamma = Linear(in_width, out_width, bias=False, gain=io.gain)
        self.invariant = nn.ModuleDict(
            {
                branch: Invariant(branch, in_width, extra_width, out_width, config, behaviour, bias_value=1.0)
                for branch in branches_of(config, behaviour)
            }
        )
        bias_value = 0.0 if io.replaces_layer else 1.0
        self.io = nn.ModuleDict(
            {
                role: MLP(in_width + extra_width, out_width, config, bias_value=bias_value)
                for role in ("input", "output")[: io.num_mlps - 1]
            }
        )

    def _io_mlp(self, node_class: str) -> MLP:
        mlp = self.io[node_class if node_class in self.io else "input"]
        assert isinstance(mlp, MLP)
        return mlp

    def _invariant(self, node_class: str) -> Invariant:
        invariant = self.invariant[branch_of(node_class)]
        assert isinstance(invariant, Invariant)
        return invariant

    def is_summed_early(self, node_class: str) -> bool:
        """Whether :meth:`rows` stops before a last linear map that :meth:`finish` applies, to sums of rows."""
        return node_class in ("input", "output") and self.replaces_layer

    def embed(self, embedding: Tensor, node_class: str) -> Tensor:
        """What extra features [N, extra] contribute to the first linear map of φ or of the MLP: [N, h]."""
        mlp = self._io_mlp(node_class) if node_class in ("input", "output") else self._invariant(node_class).phi
        return F.linear(embedding, mlp.first.weight[:, -embedding.shape[1] :])

    def rows(self, x: Tensor, node_class: str, extra: Tensor | None) -> Tensor:
        """What may be summed over rows before :meth:`finish`.

        Args:
            x: [R, d].
            node_class: Role or symmetry of the nodes.
            extra: [R, h] from :meth:`embed`, or ``None``.

        Returns:
            [R, out], or [R, h] where :meth:`is_summed_early`.
        """
        first = self.first_map(node_class)
        of_gamma = F.linear(x, first.gamma) if first.gamma is not None else None
        of_first = F.linear(x.abs() if first.is_absolute else x, first.weight)
        return self.after_first(of_gamma, of_first, squared_norm(x) if first.normalizes else None, node_class, extra)

    def product_rows(
        self,
        rows: Tensor,
        sources: Sequence[Tensor],
        shapes: Sequence[Shape],
        node_class: str,
        extra: Tensor | None,
    ) -> Tensor:
        """As :meth:`rows`, for edge rows [R, d] times the values of their sources (see :func:`product_linears`)."""
        first = self.first_map(node_class)
        of_gamma, of_first, squares = product_linears(
            rows, sources, shapes, first.gamma, first.weight, absolute=first.is_absolute
        )
        return self.after_first(of_gamma, of_first, squares if first.normalizes else None, node_class, extra)

    def first_map(self, node_class: str) -> FirstMap:
        """What the layer's input meets first."""
        if node_class in ("input", "output"):
            weight = self._io_mlp(node_class).first.weight[:, : self.in_width]
            return FirstMap(None if self.replaces_layer else self.gamma.weight, weight, False, False)
        invariant = self._invariant(node_class)
        normalizes = node_class in ("scale", "nonzero")
        return FirstMap(self.gamma.weight, invariant.first_weight, invariant.is_absolute, normalizes)

    def after_first(
        self, of_gamma: Tensor | None, of_first: Tensor, squares: Tensor | None, node_class: str, extra: Tensor | None
    ) -> Tensor:
        """The rest of :meth:`rows` from what :meth:`first_map` made of the input."""
        if node_class not in ("input", "output"):
            factor = self._invariant(node_class).after_first(of_first, squares, extra)
        else:
            mlp = self._io_mlp(node_class)
            if of_gamma is None:
                return mlp.activate(of_first, None, mlp.shift(extra))
            factor = mlp.after_first(of_first, None, mlp.shift(extra))
        assert of_gamma is not None
        return of_gamma * factor

    def finish(self, sums: Tensor, counts: Tensor | None, node_class: str) -> Tensor:
        """The layer's output summed over rows.

        Args:
            sums: Sums of :meth:`rows`, [N, out] or [N, h].
            counts: [N, 1], how many rows were summed; ``None`` for one each.
            node_class: Role or symmetry of the nodes.

        Returns:
            [N, out].
        """
        return self._io_mlp(node_class).finish(sums, counts) if self.is_summed_early(node_class) else sums

    def forward(self, x: Tensor, node_class: str, extra: Tensor | None = None) -> Tensor:
        """The layer on single rows: [R, in] to [R, out]."""
        return self.finish(self.rows(x, node_class, extra), None, node_class)
