"""How strong stripes may be."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.healing.bearable_stripes import bearable_amplitude


class Reader:
    """Takes an image for class 1 where it holds much of one wave, else for 0 or 2 by its brightness."""

    input_shape, num_classes = (1, 16, 16), 3
    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, wave: Tensor) -> None:
        self.wave = wave

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: slice) -> Reader:
        return self

    def logits(self, images: Tensor) -> Tensor:
        held = (images * self.wave).mean((1, 2, 3))
        bright = images.mean((1, 2, 3))
        return torch.stack([10 * bright, 100 * held - 5, -10 * bright], dim=1)[None]


def test_the_amplitude_is_the_largest_that_leaves_images_what_they_are() -> None:
    class Brittle(Reader):
        """Takes whatever is brighter than 0.5 anywhere for class 0."""

        def logits(self, images: Tensor) -> Tensor:
            bright = images.flatten(1).amax(1)
            return torch.stack([bright - 0.5, torch.full_like(bright, -9.0), torch.zeros_like(bright)], dim=1)[None]

    nothing, taken = torch.zeros(3, 1, 16, 16), torch.tensor([2, 2, 2])
    assert bearable_amplitude(Brittle(nothing), nothing, taken, 1) == 0.45
    assert bearable_amplitude(Brittle(nothing), nothing, taken, 0) == 0.6
    assert bearable_amplitude(Brittle(nothing), nothing + 0.6, taken, 1) == 0.25
