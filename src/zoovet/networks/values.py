"""Values of a site for B networks at once, in one of three layouts.

*shared* is [N, *shape]: all networks have the same values, or there is one network. *folded* is
[N, B · shape[0], *shape[1:]]: entry c of network b's first axis sits at b · shape[0] + c, so that one convolution in B
groups runs B networks. *stacked* is [B, N, *shape]. N is 1 for values that do not depend on the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

__all__ = ["Values"]


@dataclass(frozen=True, slots=True)
class Values:
    """A tensor and its layout (see the top of this file)."""

    tensor: Tensor
    layout: Literal["shared", "folded", "stacked"]

    def stacked(self, num_networks: int) -> Tensor:
        """The values as [B, N, *shape]; a view where they are not shared."""
        tensor = self.tensor
        if self.layout == "stacked":
            return tensor
        if self.layout == "folded":
            return _unfolded(tensor, num_networks).transpose(0, 1)
        return tensor.unsqueeze(0).expand(num_networks, *tensor.shape)

    def rows(self, num_networks: int) -> Tensor:
        """The values as [N, B, *shape]; a view."""
        if self.layout == "folded":
            return _unfolded(self.tensor, num_networks)
        return self.stacked(num_networks).transpose(0, 1)

    def folded(self, num_networks: int) -> Tensor:
        """The values as [N, B · shape[0], *shape[1:]]; their shape has an axis."""
        return self.tensor if self.layout == "folded" else self.rows(num_networks).flatten(1, 2)


def _unfolded(tensor: Tensor, num_networks: int) -> Tensor:
    rows: Tensor = tensor.unflatten(1, (num_networks, -1))
    return rows
