"""Triggers of a family that a network answers to are found: stripes also where they have no whole periods."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.evidence.family_search import FamilySearch
from zoovet.evidence.stripe_bank import stripe_starts, stripes
from zoovet.evidence.trigger_families import Pixels, Stripes

SHAPE = (1, 16, 16)
PERIODS, PHASE, AMPLITUDE = (3.4, -1.6), 0.3, 0.4
SEARCH = FamilySearch(Stripes(AMPLITUDE), stripe_starts(torch.zeros(SHAPE)))


def answers(images: Tensor) -> Tensor:
    """Two classes; the second is how far images [..., C, H, W] show the planted stripes."""
    planted = stripes(torch.tensor([PERIODS]), torch.tensor([PHASE]), torch.zeros(SHAPE))[0]
    shown = (images * planted).mean((-1, -2, -3)) * 40
    return torch.stack([torch.zeros_like(shown), shown - 2], dim=-1)


def images() -> Tensor:
    return 0.2 * torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(0))


def aim(found: Tensor) -> tuple[Tensor, Tensor]:
    shown = answers(SEARCH.put(images(), found))[..., 1].mean(-1)
    return shown.sum(), shown


def test_it_begins_at_the_nearest_of_the_bank_and_moves_to_what_lies_between() -> None:
    start = SEARCH.start(lambda shown: answers(shown)[None], images(), 1, 2)
    assert start.shape == (1, 2, 1, 1, 3)
    seen, found = SEARCH.ascend(aim, start[:, 1:, None], num_steps=5)
    across, down, middle = found.flatten().tolist()
    assert (start[0, 1, 0, 0, :2] == start[0, 1, 0, 0, :2].round()).all()
    assert abs(across - PERIODS[0]) < 0.15
    assert abs(down - PERIODS[1]) < 0.15
    assert abs((middle - (PHASE + sum(PERIODS) / 2) + 0.5) % 1 - 0.5) < 0.06
    as_planted = answers((images() + AMPLITUDE * planted()).clamp(-1, 1))[:, 1].mean()
    assert float(seen[0]) < 0.8 * float(as_planted)
    assert float(seen[-1]) > 0.95 * float(as_planted)


def test_leading_axes_of_images_and_triggers_broadcast() -> None:
    shown = images()
    found = torch.tensor([*PERIODS, PHASE + sum(PERIODS) / 2]).view(1, 1, 1, 3)
    expected = (shown + AMPLITUDE * planted()).clamp(-1, 1)
    torch.testing.assert_close(SEARCH.put(shown, found), expected)
    each = shown.expand(4, 2, *shown.shape)
    torch.testing.assert_close(SEARCH.put(each, found.expand(4, 1, 1, 1, 1, 3)), expected.expand_as(each))


def test_a_family_begins_at_its_own_start_where_no_others_are_named() -> None:
    search = FamilySearch(Pixels(3))
    start = search.start(lambda shown: answers(shown)[None], images(), 1, 2)
    assert start.shape == (1, 2, *SHAPE)
    assert not start.any()

    def brighter(found: Tensor) -> tuple[Tensor, Tensor]:
        shown = search.put(images(), found)[..., 2:5, 7].mean((-1, -2, -3))
        return shown.sum(), shown

    seen, found = search.ascend(brighter, start[:, :1, None], num_steps=3)
    assert found.nonzero()[:, -2:].tolist() == [[2, 7], [3, 7], [4, 7]]
    assert float(seen[-1]) > float(seen[0]) + 0.5


def planted() -> Tensor:
    return stripes(torch.tensor([PERIODS]), torch.tensor([PHASE]), torch.zeros(SHAPE))[0]
