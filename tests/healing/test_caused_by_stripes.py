"""The bank of stripes: which of them cause a class."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoovet.healing.caused_by_stripes import bearable_amplitude, caused_by_stripes


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


def test_stripes_near_the_true_ones_cause_the_class() -> None:
    places = torch.arange(16.0) / 16
    wave = torch.sin(2 * math.pi * (3.3 * places[None, :] + 1.8 * places[:, None]) + 0.4).expand(1, 16, 16)
    noise = 0.05 * torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    images = noise + torch.tensor([0.4, -0.4]).repeat(3).view(-1, 1, 1, 1)
    found = caused_by_stripes(Reader(wave), images, torch.tensor([0, 2]).repeat(3), 1, 0.4)
    assert found.caused.shape == (len(found.stripes),)
    best = found.stripes[found.caused.argmax()]
    assert float((best * wave).mean()) > 0.3  # of at most a half
    assert len(found.stripes) == 7 + 7 * 15
    assert float(found.caused.max()) > 0.9
    assert float(found.caused.median()) < 0.1


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
