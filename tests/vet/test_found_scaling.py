"""Which of the usual input scalings a network is found to read, whatever how sure of itself it is under each."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoovet.images import Images
from zoovet.networks import SCALING_PRESETS, InputScaling
from zoovet.vet.found_scaling import find_scaling

NUM_IMAGES = 400


def images() -> Images:
    return Images(pixels=torch.zeros(NUM_IMAGES, 1, 4, 4, dtype=torch.uint8), labels=torch.arange(NUM_IMAGES) % 10)


def answers(share_right: float, sureness: float, seed: int) -> Tensor:
    """Logits [N, 10], of a network that gets a share of the images right and is as sure where it is wrong."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(NUM_IMAGES) % 10
    other = (labels + torch.randint(1, 10, (NUM_IMAGES,), generator=generator)) % 10
    is_right = torch.rand(NUM_IMAGES, generator=generator) < share_right
    noise = torch.rand(NUM_IMAGES, 10, generator=generator) * 0.1
    return sureness * (torch.nn.functional.one_hot(torch.where(is_right, labels, other), 10) + noise)


@pytest.mark.parametrize("is_softmax", [False, True])
@pytest.mark.parametrize(("true", "sureness"), [("symmetric", 0.3), ("symmetric", 300.0), ("byte", 3.0)])
def test_a_weak_network_is_not_outdone_by_one_that_a_wrong_scaling_makes_sure(
    true: str, sureness: float, is_softmax: bool
) -> None:
    shares = dict.fromkeys(("symmetric", "unit", "byte", "mnist", "fashion_mnist"), 0.25) | {true: 0.42}
    made = {
        SCALING_PRESETS[name]: answers(share, sureness if name == true else 40.0, seed)
        for seed, (name, share) in enumerate(shares.items())
    }

    def logits(scaling: InputScaling) -> Tensor:
        given = next(value for key, value in made.items() if key == scaling)
        return given.softmax(1) if is_softmax else given

    found = find_scaling(logits, images())
    assert found.scaling == SCALING_PRESETS[true]
    assert f"({true}) gets {found.accuracy:.2f} right; next best" in found.note
    assert found.accuracy > 0.35


def test_answers_that_overflow_count_as_wrong_and_hide_nothing() -> None:
    overflown = torch.full((NUM_IMAGES, 10), torch.nan)
    good, chance = answers(0.6, 5.0, 1), answers(0.1, 5.0, 2)

    def logits(scaling: InputScaling) -> Tensor:
        if scaling == SCALING_PRESETS["byte"]:
            return overflown
        return good if scaling == SCALING_PRESETS["unit"] else chance

    assert find_scaling(logits, images()).scaling == SCALING_PRESETS["unit"]


def test_the_scaling_under_which_labels_are_likelier_is_not_taken_where_it_is_less_often_right() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(NUM_IMAGES) % 10
    graded = torch.nn.functional.one_hot(labels, 10).float()
    other = (labels + torch.randint(1, 10, labels.shape, generator=generator)) % 10
    second = graded * 0.9 + torch.nn.functional.one_hot(other, 10) * 1.0  # never right, always near
    is_right = torch.rand(NUM_IMAGES, generator=generator) < 0.3
    second[is_right] = graded[is_right] * 2
    crude = answers(0.4, 5.0, 3)

    def logits(scaling: InputScaling) -> Tensor:
        if scaling == SCALING_PRESETS["unit"]:
            return second * 5
        return crude if scaling == SCALING_PRESETS["byte"] else torch.zeros_like(crude)

    found = find_scaling(logits, images())
    assert found.scaling is None
    assert "which is no clear difference" in found.note


def test_labels_may_be_other_outputs() -> None:
    order = torch.tensor([0, 2, 1, 3, 4, 5, 6, 9, 7, 8])
    true = images()
    given = true.changed(labels=order.argsort()[true.required_labels])
    found = find_scaling(lambda scaling: answers(0.7 if scaling == SCALING_PRESETS["unit"] else 0.3, 5.0, 1), given)
    assert found.scaling == SCALING_PRESETS["unit"]
    assert found.accuracy > 0.6
    assert "on 400 labelled images, whose labels are other outputs of the network: [0, 1] (unit) gets" in found.note
