"""The vocabulary: every operation that a graph may hold, an entry each.

Names are torch.export's (ATen) where it has one; ``parameter``, ``channel_affine``, ``add_scalar`` and ``mul_scalar``
are ours, ``interpolate`` is torch.nn's. An operation that the vocabulary lacks is added as an entry of one of the
families here, and its law in ``symmetry``.
"""

from __future__ import annotations

from types import MappingProxyType

from zoovet.networks.ops.elementwise import ELEMENTWISE
from zoovet.networks.ops.kinds import Attribute, OperationKind, Shape, Site
from zoovet.networks.ops.layout import LAYOUT
from zoovet.networks.ops.linear import LINEAR
from zoovet.networks.ops.norms import NORMS
from zoovet.networks.ops.pooling import POOLING
from zoovet.networks.ops.resizing import RESIZING

__all__ = ["VOCABULARY", "Attribute", "OperationKind", "Shape", "Site"]

VOCABULARY = MappingProxyType(
    {kind.name: kind for kind in (*LINEAR, *NORMS, *ELEMENTWISE, *POOLING, *RESIZING, *LAYOUT)}
)
"""Name of an operation → its entry."""
