"""Labels that mean other outputs: told where the network's answers say so, and left alone else."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.vet.label_order import label_order, order_of_the_best

ORDER = torch.tensor([2, 0, 1, 3, 5, 4])


def _answers(labels: Tensor, share_right: float, seed: int = 0) -> Tensor:
    """What a network of six classes answers that gets a share right."""
    generator = torch.Generator().manual_seed(seed)
    is_right = torch.rand(len(labels), generator=generator) < share_right
    return torch.where(is_right, labels, torch.randint(6, labels.shape, generator=generator))


def test_an_order_that_shares_some_labels_is_found_though_answers_are_above_chance() -> None:
    said = torch.arange(6).repeat_interleave(20)
    order = label_order(_answers(ORDER[said], 0.7), said, 6)
    assert order is not None
    assert order.tolist() == ORDER.tolist()


def test_labels_that_mean_themselves_stay() -> None:
    said = torch.arange(6).repeat_interleave(20)
    for seed in range(20):
        assert label_order(_answers(said, 0.5, seed), said, 6) is None
        assert label_order(_answers(said, 0.0, seed), said, 6) is None


def test_labels_beyond_the_outputs_and_too_few_images_tell_nothing() -> None:
    said = torch.arange(6)
    assert label_order(ORDER[said], said, 6) is None
    assert label_order(torch.zeros(40, dtype=torch.long), torch.arange(40) % 8, 6) is None


def test_of_several_ways_the_order_of_the_one_that_gets_most_right_counts() -> None:
    said = torch.arange(6).repeat_interleave(20)
    right, wrong = _answers(said, 0.9), _answers(ORDER[said], 0.6)
    ways = {name: torch.eye(6)[taken] for name, taken in (("right", right), ("wrong", wrong))}
    assert order_of_the_best(ways, said) is None
    order = order_of_the_best({"wrong": ways["wrong"]}, said)
    assert order is not None
    assert order.tolist() == ORDER.tolist()
