"""A network that multiplies in bfloat16, on processors that do so twice as fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from zoovet.evidence.runnable import Runnable

__all__ = ["LowPrecision", "multiplies_bfloat16"]

_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for it, and PyTorch tells; without them bfloat16 is slower."""
    tell: Callable[[], Mapping[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
    capabilities = tell()
    return any(bool(capabilities.get(name)) for name in _INSTRUCTIONS)


class LowPrecision:
    """A network whose convolutions and matrix products have 8 bits of mantissa; images and logits are as before.

    Args:
        network: Any, in float32.
    """

    def __init__(self, network: Runnable) -> None:
        self._network = network
        self.input_shape, self.num_classes = network.input_shape, network.num_classes
        self.dtype, self.device = network.dtype, network.device

    def __len__(self) -> int:
        return len(self._network)

    def __getitem__(self, index: slice) -> LowPrecision:
        return LowPrecision(self._network[index])

    def logits(self, images: Tensor) -> Tensor:
        """[B, N, classes], float32, differentiable."""
        with torch.autocast(self.device.type, torch.bfloat16):
            return self._network.logits(images).to(self.dtype)
