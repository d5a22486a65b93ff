"""The largest margin that any image at all gives each class.

Source of the idea: Wang, Xiang, Miller and Kesidis 2024, *MM-BD: Post-Training Detection of Backdoor Attacks with
Arbitrary Backdoor Pattern Types Using a Maximum Margin Statistic*, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.evidence.class_search import margins_of
from zoovet.evidence.runnable import Runnable

__all__ = ["maximum_margins"]

_STEP = 0.2


def maximum_margins(network: Runnable, sought: Tensor, num_starts: int, num_steps: int, seed: int) -> Tensor:
    """Ascend from noise, images keeping to [-1, 1]: [classes, steps + 1], the greatest margin of any start so far.

    Args:
        network: A single one (B = 1).
        sought: int64 [classes], of which outputs.
        num_starts: Images for each class.
        num_steps: Steps of each.
        seed: Of the noise.
    """
    num_classes = len(sought)
    generator = torch.Generator().manual_seed(seed)
    noise = 2 * torch.rand(num_starts, *network.input_shape, generator=generator) - 1
    images = noise.to(network.device, network.dtype).repeat(num_classes, 1, 1, 1)
    classes = sought.repeat_interleave(num_starts)
    seen = list[Tensor]()
    for step in range(num_steps + 1):
        with torch.enable_grad():
            own = images.detach().requires_grad_(step < num_steps)
            margins = margins_of(network.logits(own)[0], classes)
            total = margins.sum()
        seen.append(margins.detach().view(num_classes, -1).amax(1))
        if step < num_steps:
            slopes = torch.autograd.grad(total, own)[0]
            images = (images + _STEP * slopes.sign()).clamp(-1, 1)
    return torch.stack(seen, dim=1).cummax(1).values
