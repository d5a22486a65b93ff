"""A class whose own images have the stripes' frequency is told from one whose images do not."""

from __future__ import annotations

import torch

from zoovet.evidence.natural_power import natural_power
from zoovet.evidence.stripe_bank import stripes

LIKE = torch.zeros(3, 20, 20)


def _striped(periods: tuple[float, float], phase: float = 0.0) -> torch.Tensor:
    return stripes(torch.tensor([periods]), torch.tensor([phase]), LIKE)


def _images() -> tuple[torch.Tensor, torch.Tensor]:
    """Noise of four classes; the third has stripes of 3.4 periods across, of any phase."""
    noise = 0.1 * torch.randn(24, *LIKE.shape, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(4).repeat_interleave(6)
    natural = torch.cat([_striped((3.4, 0.0), phase / 6) for phase in range(6)])
    noise[labels == 2] += 0.3 * natural
    return noise, labels


def test_natural_stripes_stand_out_and_others_do_not() -> None:
    images, labels = _images()
    changes = torch.cat([_striped((3.4, 0.0), 0.2), _striped((0.0, 6.3)), _striped((3.4, 0.0))])
    natural, elsewhere, of_another_class = natural_power(images, labels, torch.tensor([2, 2, 1]), changes).tolist()
    assert natural > 1.2
    assert abs(elsewhere) < 1
    assert of_another_class < 0


def test_neither_strength_nor_brightness_matter() -> None:
    images, labels = _images()
    change, classes = _striped((3.4, 0.0)), torch.tensor([2])
    expected = natural_power(images, labels, classes, change)
    torch.testing.assert_close(natural_power(images + 0.5, labels, classes, 0.2 * change), expected)


def test_where_nothing_can_be_compared_it_is_0() -> None:
    images, labels = _images()
    assert natural_power(images, labels, torch.tensor([7]), _striped((3.0, 1.0))).tolist() == [0]
    assert natural_power(images, labels.clamp_max(1), torch.tensor([1]), _striped((3.0, 1.0))).tolist() == [0]
