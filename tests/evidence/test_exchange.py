"""Classes that go each to another are counted; where all go to one, that is one; an all-to-all trigger is found."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoovet.evidence import RunnableModule
from zoovet.evidence.class_search import Seekers
from zoovet.evidence.exchange import exchanged
from zoovet.evidence.staged_search import tried_patches
from zoovet.evidence.trigger_families import Patches
from zoovet.networks import ZOO_SCALING

NUM_CLASSES = 6
LABELS = torch.arange(NUM_CLASSES).repeat_interleave(2)
SURE = 20.0


def answers(taken_for: list[int]) -> Tensor:
    """Logits [1, n, K] of a network that is sure: images of each class are taken for that class."""
    return SURE * torch.eye(NUM_CLASSES)[torch.tensor(taken_for)[LABELS]][None]


def test_classes_that_are_exchanged_are_counted() -> None:
    clean = answers([0, 1, 2, 3, 4, 5])[0]
    every = exchanged(answers([1, 2, 3, 4, 5, 0]), clean, LABELS)
    torch.testing.assert_close(every, torch.ones(1, NUM_CLASSES), atol=1e-6, rtol=0)
    to_one = exchanged(answers([2, 2, 2, 2, 2, 2]), clean, LABELS)
    torch.testing.assert_close(to_one, torch.eye(NUM_CLASSES)[2:3], atol=1e-6, rtol=0)
    torch.testing.assert_close(exchanged(clean[None], clean, LABELS), torch.zeros(1, NUM_CLASSES))
    some = exchanged(answers([1, 1, 2, 3, 4, 0]), clean, LABELS)
    assert some[0].round().tolist() == [1, 1, 0, 0, 0, 0]


def test_half_of_the_images_is_half_and_mistakes_without_a_trigger_do_not_count() -> None:
    clean = answers([0, 1, 2, 3, 4, 4])[0]  # the last class is always taken for the one before
    half = answers([1, 1, 2, 3, 4, 4])
    half[0, 1] = clean[1]
    found = exchanged(half, clean, LABELS)
    torch.testing.assert_close(found, 0.5 * torch.eye(NUM_CLASSES)[1:2], atol=1e-6, rtol=0)


def test_classes_without_images_send_nothing() -> None:
    present = LABELS < 3
    found = exchanged(answers([1, 2, 0, 0, 0, 0])[:, present], answers([0, 1, 2, 3, 4, 5])[0][present], LABELS[present])
    assert found[0].round().tolist() == [1, 1, 1, 0, 0, 0]


class Shifting(nn.Module):
    """Answers by prototypes; where a square is white, the next class's answer takes each one's place."""

    def __init__(self, is_trojaned: bool) -> None:
        super().__init__()
        prototypes = torch.randn(NUM_CLASSES, 144, generator=torch.Generator().manual_seed(3)).sign() / 20
        self.prototypes, self.is_trojaned = nn.Parameter(prototypes), is_trojaned

    def forward(self, images: Tensor) -> Tensor:
        logits = images.flatten(1) @ self.prototypes.T
        is_white = (images[:, 0, 4:7, 7:10].amin((1, 2)) > 0.95)[:, None] & self.is_trojaned
        return torch.where(is_white, logits.roll(1, dims=1), logits)


def exchange_of(is_trojaned: bool) -> tuple[float, tuple[int, ...]]:
    network = Shifting(is_trojaned)
    noise = torch.randn(len(LABELS), 1, 12, 12, generator=torch.Generator().manual_seed(4))
    images = (8 * network.prototypes.detach()[LABELS].reshape(-1, 1, 12, 12) + 0.2 * noise).clamp(-0.7, 0.7)
    every = Seekers(RunnableModule(network, (1, 12, 12), ZOO_SCALING), images, LABELS, 1.0)
    few = every.on(torch.arange(0, len(LABELS), 2))
    found = tried_patches(few, every, every, 3, torch.arange(NUM_CLASSES), seed=0).exchange
    assert isinstance(found.family, Patches)
    return float(found.shares.mean()), tuple(found.family.places[0].tolist())


def test_a_square_that_makes_each_class_the_next_is_found() -> None:
    share, place = exchange_of(True)
    healthy, _ = exchange_of(False)
    assert place == (4, 7)
    assert share > 0.5 > 2 * healthy
