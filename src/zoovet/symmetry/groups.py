"""Which symmetry each channel group has: what may be done to its channels without changing the function.

Every hidden group may be permuted. Whether its channels may be multiplied by scalars as well depends on what
stands between its blocks: an activation and a pooling commute with some scalars and not with others.
Source: Kalogeropoulos et al. 2024, *Scale Equivariant Graph Metanetworks*, section 4.
"""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import Literal

from zoovet.networks.chain import Group
from zoovet.networks.graph import Graph

__all__ = ["Symmetry", "common_symmetry", "group_symmetries", "is_scaled", "spec_symmetry"]

Symmetry = Literal["nonzero", "scale", "sign", "permutation", "fixed"]
"""What may act on the channels of a group.

- ``nonzero``: permutations, and any scalar q ≠ 0 for each channel (identity);
- ``scale``: permutations, and any q > 0 (relu, leaky_relu);
- ``sign``: permutations, and q = ±1 (tanh, sine);
- ``permutation``: permutations alone (sigmoid, gelu, silu; tanh or sine before max pooling);
- ``fixed``: nothing (the input and the output).
"""

_OF_ACTIVATION: dict[str, Symmetry] = {
    "identity": "nonzero",
    "relu": "scale",
    "leaky_relu": "scale",
    "tanh": "sign",
    "sine": "sign",
    "sigmoid": "permutation",
    "gelu": "permutation",
    "silu": "permutation",
}
_OF_POOLING: dict[str | None, Symmetry] = {None: "nonzero", "average": "nonzero", "global": "nonzero", "max": "scale"}


def common_symmetry(first: Symmetry, second: Symmetry) -> Symmetry:
    """The largest symmetry that is part of both; ``scale`` and ``sign`` share only the permutations."""
    if first == second:
        return first
    if "fixed" in (first, second):
        return "fixed"
    if first == "nonzero":
        return second
    return first if second == "nonzero" else "permutation"


def is_scaled(symmetry: Symmetry) -> bool:
    """Whether other scalars than 1 act: ``nonzero``, ``scale`` and ``sign``."""
    return symmetry in ("nonzero", "scale", "sign")


@lru_cache(maxsize=1024)
def group_symmetries(spec: Graph) -> tuple[Symmetry, ...]:
    """Every group's symmetry, from the activation and pooling of all layers that write into it.

    Args:
        spec: Any spec.

    Returns:
        One symmetry for each of ``spec.groups``; ``fixed`` for the input and the output.
    """
    return tuple(_group_symmetry(group) for group in spec.chain.groups)


def spec_symmetry(spec: Graph) -> Symmetry:
    """The symmetry that all hidden groups share, for a metanetwork that treats a network as a whole.

    It is the weakest of them: networks with relu and tanh layers have only the permutations in common. A
    metanetwork that respects no more than this is right, but does not know of what single groups allow beyond it.

    Args:
        spec: Any spec.

    Returns:
        The shared symmetry; ``fixed`` for a network without hidden groups, on which nothing acts.
    """
    symmetries = [
        symmetry
        for group, symmetry in zip(spec.chain.groups, group_symmetries(spec), strict=True)
        if group.role == "hidden"
    ]
    return reduce(common_symmetry, symmetries) if symmetries else "fixed"


def _group_symmetry(group: Group) -> Symmetry:
    if group.role != "hidden":
        return "fixed"
    symmetry: Symmetry = "nonzero"
    for activation, pooling in group.activations:
        symmetry = common_symmetry(symmetry, common_symmetry(_OF_ACTIVATION[activation], _OF_POOLING[pooling]))
    return symmetry
