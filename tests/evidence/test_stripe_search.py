"""Stripes that a network answers to are found, also where they have no whole periods."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.evidence.stripe_bank import stripes
from zoovet.evidence.stripe_search import StripeSearch

SHAPE = (1, 16, 16)
PERIODS, PHASE, AMPLITUDE = (3.4, -1.6), 0.3, 0.4


def answers(images: Tensor) -> Tensor:
    """Two classes; the second is how far images [..., C, H, W] show the planted stripes."""
    planted = stripes(torch.tensor([PERIODS]), torch.tensor([PHASE]), torch.zeros(SHAPE))[0]
    shown = (images * planted).mean((-1, -2, -3)) * 40
    return torch.stack([torch.zeros_like(shown), shown - 2], dim=-1)


def images() -> Tensor:
    return 0.2 * torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(0))


def aim(found: Tensor) -> tuple[Tensor, Tensor]:
    shown = answers(StripeSearch(AMPLITUDE).put(images(), found))[..., 1].mean(-1)
    return shown.sum(), shown


def test_it_begins_at_the_nearest_of_the_bank_and_moves_to_what_lies_between() -> None:
    search = StripeSearch(AMPLITUDE)
    start = search.best_of_bank(lambda shown: answers(shown)[None], images())
    assert start.shape == (1, 2, 1, 1, 3)
    seen, found = search.ascend(aim, start[:, 1:], num_steps=5)
    across, down, middle = found.flatten().tolist()
    assert (start[0, 1, 0, 0, :2] == start[0, 1, 0, 0, :2].round()).all()
    assert abs(across - PERIODS[0]) < 0.15
    assert abs(down - PERIODS[1]) < 0.15
    assert abs((middle - (PHASE + sum(PERIODS) / 2) + 0.5) % 1 - 0.5) < 0.06
    as_planted = answers((images() + AMPLITUDE * planted()).clamp(-1, 1))[:, 1].mean()
    assert float(seen[0]) < 0.8 * float(as_planted)
    assert float(seen[-1]) > 0.95 * float(as_planted)


def test_stripes_are_those_of_the_bank_put_on_images() -> None:
    shown, search = images(), StripeSearch(AMPLITUDE)
    found = torch.tensor([*PERIODS, PHASE + sum(PERIODS) / 2]).view(1, 1, 3)
    torch.testing.assert_close(search.put(shown, found), (shown + AMPLITUDE * planted()).clamp(-1, 1))
    assert float(search.put(shown, found).abs().max()) <= 1


def planted() -> Tensor:
    return stripes(torch.tensor([PERIODS]), torch.tensor([PHASE]), torch.zeros(SHAPE))[0]
