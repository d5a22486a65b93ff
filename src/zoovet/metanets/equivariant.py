"""Layers that respect the scalars of a node: canonicalization, invariant and equivariant layers.

Source: Kalogeropoulos et al. 2024, *Scale Equivariant Graph Metanetworks*, section 5. Shapes: R rows (nodes or edges),
d features, h hidden features of an MLP.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoovet.metanets.config import ReleasedBehaviour, ScaleGMNConfig

__all__ = [
    "MLP",
    "EquivariantLayer",
    "Invariant",
    "IoMlps",
    "Linear",
    "MLPTail",
    "branch_of",
    "branches_of",
    "canonical_linear",
    "canonical_norm",
    "reciprocal_norm",
    "smallest_square",
]


class Linear(nn.Module):
    """A linear map whose initial values come from an explicit generator.

    Attributes:
        weight: [out, in], initially normal with standard deviation ``gain`` / √in.
        bias: [out], initially normal around ``bias_value``, or ``None``.
    """

    def __init__(
        self,
        in_width: int,
        out_width: int,
        *,
        bias: bool = True,
        gain: float = 1.0,
        bias_value: float = 0.0,
        bias_deviation: float = 0.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_width, in_width))
        self.bias = nn.Parameter(torch.empty(out_width)) if bias else None
        self.gain = gain
        self.bias_value = bias_value
        self.bias_deviation = bias_deviation

    def initialize(self, generator: torch.Generator | None) -> None:
        """Draw the initial values."""
        deviation = self.gain / math.sqrt(self.weight.shape[1])
        nn.init.normal_(self.weight, std=deviation, generator=generator)
        if self.bias is not None:
            nn.init.normal_(self.bias, self.bias_value, self.bias_deviation, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        return F.linear(x, self.weight, self.bias)


class MLPTail(nn.Module):
    """What follows an MLP's first linear map: LayerNorm where configured, SiLU, dropout where configured, Linear.

    The halves can be called apart: sums over rows may stand before :attr:`last`, sums of linear maps before
    :meth:`activate`.
    """

    def __init__(self, out_width: int, config: ScaleGMNConfig, *, bias_value: float = 0.0) -> None:
        super().__init__()
        hidden = config.mlp_width
        self.norm = nn.LayerNorm(hidden, eps=1e-5) if config.layer_norm else None
        self.last = Linear(hidden, out_width, bias_value=bias_value)
        self.dropout = nn.Dropout(config.mlp_dropout)

    def activate(self, before: Tensor) -> Tensor:
        """Hidden features [R, h] from the first linear map's output [R, h]."""
        if self.norm is not None:
            before = self.norm(before)
        hidden: Tensor = self.dropout(F.silu(before))
        return hidden

    def after_first(self, before: Tensor) -> Tensor:
        """Map the first linear map's output [R, h] to the MLP's, [R, out]."""
        output: Tensor = self.last(self.activate(before))
        return output

    def finish(self, sums: Tensor, counts: Tensor | None) -> Tensor:
        """The last linear map, of sums [N, h] of hidden features over ``counts`` [N, 1] rows (``None``: one)."""
        if counts is None:
            output: Tensor = self.last(sums)
            return output
        assert self.last.bias is not None
        return F.linear(sums, self.last.weight) + counts * self.last.bias


class MLP(MLPTail):
    """Linear, LayerNorm where configured, SiLU, dropout where configured, Linear."""

    def __init__(self, in_width: int, out_width: int, config: ScaleGMNConfig, *, bias_value: float = 0.0) -> None:
        super().__init__(out_width, config, bias_value=bias_value)
        self.first = Linear(in_width, config.mlp_width, bias_deviation=0.3)

    def hidden(self, x: Tensor, extra: Tensor | None = None) -> Tensor:
        """Hidden features [R, h] from the leading inputs [R, k]; ``extra`` [R, h] is what the others contribute."""
        before = F.linear(x, self.first.weight[:, : x.shape[1]], self.first.bias)
        return self.activate(before if extra is None else before + extra)

    def forward(self, x: Tensor) -> Tensor:
        """Map [R, in] to [R, out]."""
        return self.after_first(self.first(x))


def smallest_square(dtype: torch.dtype) -> float:
    """Squared norms below this count as 0: 4e-29 in float32, so that what they divide stays far from infinity."""
    return float(torch.finfo(dtype).tiny ** 0.75)


def reciprocal_norm(x: Tensor, constant: float = 0.0, numerator: float = 1.0) -> Tensor:
    """Give numerator / (‖x‖ + constant) for each row, 0 for rows of zeros; gradients are finite there.

    Rows whose squared norm is below :func:`smallest_square` count as zeros: networks trained with weight decay have
    channels nearly as small as that. The gradient is taken in an order in which nothing overflows.

    Args:
        x: [R, d].
        constant: Added to the norm.
        numerator: The norm of what the product with it makes, where the constant is 0.

    Returns:
        [R, 1].
    """
    result: Tensor = _ReciprocalNorm.apply(x, constant, numerator)  # type: ignore[no-untyped-call]
    return result


class _ReciprocalNorm(torch.autograd.Function):
    """r = numerator / (‖x‖ + constant), dr = −r / (‖x‖ + constant) · x/‖x‖ · dx."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, constant: float, numerator: float) -> Tensor:
        squares = torch.linalg.vecdot(x, x).unsqueeze(-1)
        is_zero = squares < smallest_square(x.dtype)
        norms = torch.where(is_zero, 1.0, squares).sqrt()
        result = torch.where(is_zero, 0.0, numerator / (norms + constant))
        ctx.save_for_backward(x, norms, result)
        ctx.constant = constant
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, norms, result = ctx.saved_tensors
        factor = (gradients[0] * result) / (norms + ctx.constant)
        return -factor * (x / norms), None, None


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
        self.branch = branch
        self.norm_constant = behaviour.norm_constant
        self.numerator = canonical_norm(in_width, behaviour)
        self.rho = MLP(in_width, in_width, config) if branch == "sign" and config.symmetrize else None
        self.phi = MLP(in_width + extra_width, out_width, config, bias_value=bias_value)

    def hidden(self, x: Tensor, extra: Tensor | None, *, normalize: bool) -> Tensor:
        """Hidden features of φ, [R, h].

        Args:
            x: [R, d].
            extra: [R, h], what further invariant features contribute to φ's first linear map, or ``None``.
            normalize: Divide by the norm first: symmetries scale and nonzero.

        Returns:
            φ up to its last linear map.
        """
        return self.phi.activate(self.before(x, extra, normalize=normalize))

    def before(self, x: Tensor, extra: Tensor | None, *, normalize: bool) -> Tensor:
        """As :meth:`hidden`, but only φ's first linear map: [R, h]."""
        weight, bias = self.phi.first.weight[:, : x.shape[1]], self.phi.first.bias
        scale = reciprocal_norm(x, self.norm_constant, self.numerator) if normalize else None
        return canonical_linear(x, weight, bias, extra, branch=self.branch, rho=self.rho, scale=scale)

    def forward(self, x: Tensor, extra: Tensor | None = None, *, normalize: bool) -> Tensor:
        """φ([canon(x), p]), [R, out]."""
        output: Tensor = self.phi.last(self.hidden(x, extra, normalize=normalize))
        return output


def canonical_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    extra: Tensor | None,
    *,
    branch: str,
    rho: MLP | None,
    scale: Tensor | None,
) -> Tensor:
    """A linear map of the canonicalized rows, computed without what cancels or folds.

    The norm is divided out after the product. ρ(x) + ρ(−x) shares the first product up to its sign, is summed before
    ρ's last linear map, and that map is folded into ``weight``.

    Args:
        x: [R, d].
        weight: [h, d].
        bias: [h] or ``None``.
        extra: [R, h] to be added, or ``None``.
        branch: ``scale``, ``sign`` or ``permutation``.
        rho: The MLP of the symmetrized sign canonicalization; ``None`` for |x|.
        scale: [R, 1], to normalize the rows with, or ``None``.

    Returns:
        ``weight`` · canon(x) + ``bias`` + ``extra``, [R, h].
    """
    if branch == "sign" and rho is not None:
        first = F.linear(x, rho.first.weight)
        first = first if scale is None else first * scale
        assert rho.first.bias is not None
        assert rho.last.bias is not None
        hidden = rho.activate(rho.first.bias + first) + rho.activate(rho.first.bias - first)
        constant_part = 2 * (weight @ rho.last.bias)
        folded_bias = constant_part if bias is None else bias + constant_part
        result = F.linear(hidden, weight @ rho.last.weight, folded_bias)
    elif branch == "sign":
        result = F.linear(x.abs() if scale is None else x.abs() * scale, weight, bias)
    elif scale is None:
        result = F.linear(x, weight, bias)
    else:
        product = F.linear(x, weight) * scale
        result = product if bias is None else product + bias
    return result if extra is None else result + extra


@dataclass(frozen=True)
class IoMlps:
    """How input and output nodes are served, and the initial size of Γ: see :class:`EquivariantLayer`."""

    replaces_layer: bool
    num_mlps: int
    gain: float = 1.0


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
        if node_class not in ("input", "output"):
            factor = self._invariant(node_class)(x, extra, normalize=node_class in ("scale", "nonzero"))
            return torch.mul(self.gamma(x), factor)
        mlp = self._io_mlp(node_class)
        hidden = mlp.hidden(x, extra)
        return hidden if self.replaces_layer else torch.mul(self.gamma(x), mlp.last(hidden))

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
