"""Draws depend on seed, purpose and number alone."""

from __future__ import annotations

import itertools

import torch

from zoovet.tasks.random_streams import IndexStream, seeded_generator, seeded_modules

INDICES = torch.tensor([3, 5, 7, 9, 11, 13, 15])


def stream(**options: object) -> IndexStream:
    defaults: dict[str, object] = {"groups": None, "seed": 4, "purpose": "batches"}
    return IndexStream(INDICES, **(defaults | options))


def test_every_pass_holds_every_index_once_in_another_order() -> None:
    first, second = stream().take(0, 7), stream().take(7, 7)
    assert sorted(first.tolist()) == sorted(second.tolist()) == INDICES.tolist()
    assert first.tolist() != second.tolist()


def test_a_part_is_the_same_wherever_reading_begins() -> None:
    whole = stream().take(0, 40)
    late = stream()
    assert torch.equal(late.take(17, 9), whole[17:26])
    assert torch.equal(late.take(2, 9), whole[2:11])
    assert len(late.take(5, 0)) == 0


def test_seed_and_purpose_change_the_order() -> None:
    orders = [stream(**options).take(0, 7).tolist() for options in ({}, {"seed": 5}, {"purpose": "healthy"})]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_groups_stay_together() -> None:
    groups = torch.tensor([0, 8, 0, 8, 2, 1, 2])
    for start in (0, 7, 14):
        drawn = stream(groups=groups).take(start, 7)
        group_of = dict(zip(INDICES.tolist(), groups.tolist(), strict=True))
        sequence = [group_of[index] for index in drawn.tolist()]
        changes = sum(a != b for a, b in itertools.pairwise(sequence))
        assert changes == 3
        assert sorted(drawn.tolist()) == INDICES.tolist()


def test_generators_of_other_purposes_are_unrelated() -> None:
    draws = {
        torch.rand((), generator=seeded_generator(seed, purpose, number)).item()
        for seed in (0, 1)
        for purpose in ("images", "noise")
        for number in (0, 1)
    }
    assert len(draws) == 8
    assert torch.rand((), generator=seeded_generator(1, "noise", 1)).item() in draws


def test_modules_are_seeded_inside_and_the_global_state_stays_outside() -> None:
    before = torch.random.get_rng_state()
    with seeded_modules(0, "modules", 3):
        first = torch.nn.functional.dropout(torch.ones(50))
    with seeded_modules(0, "modules", 3):
        torch.testing.assert_close(torch.nn.functional.dropout(torch.ones(50)), first)
    with seeded_modules(0, "modules", 4):
        assert not torch.equal(torch.nn.functional.dropout(torch.ones(50)), first)
    assert torch.equal(torch.random.get_rng_state(), before)
