from __future__ import annotations

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.evaluation.edit_examples import collect_edit_examples, collect_reconstructions
from zoovet.evaluation.editing import evaluate_editing
from zoovet.evaluation.results import ComparedModel
from zoovet.evaluation.source_images import sources_of
from zoovet.images import load_dataset
from zoovet.zoo.inr_pictures import pictures

MODELS = (ComparedModel(key="brighter", name="A"), ComparedModel(key="same", name="B"))


class Brighter:
    """Adds a constant to the last bias, and thereby to every pixel."""

    def __init__(self, amount):
        self.amount = amount

    def edit(self, networks):
        flat = networks.flat().clone()
        flat[:, -1] += self.amount
        return type(networks).from_flat(networks.graph, flat)


EDITORS = {"brighter": Brighter(0.1), "same": Brighter(0.0)}


@pytest.fixture
def shown(inr_zoo):
    return pictures(inr_zoo.networks(), 8, 8)


def test_errors_are_those_of_the_pictures(inr_zoo, shown):
    results = evaluate_editing(EDITORS, MODELS, inr_zoo, shown + 0.1, edit="dilation")
    np.testing.assert_allclose(results.mse_of_nothing, 0.01, rtol=1e-5)
    np.testing.assert_allclose(results.mse["same"], results.mse_of_nothing)
    np.testing.assert_allclose(results.mse["brighter"], 0, atol=1e-12)
    assert results.edit == "dilation"


def test_what_cannot_be_judged_is_refused(inr_zoo, shown):
    with pytest.raises(ZoovetError, match="8 networks, got 2 targets"):
        evaluate_editing(EDITORS, MODELS, inr_zoo, shown[:2], edit="dilation")
    with pytest.raises(ZoovetError, match="pictures of 1 channels, but the images have 3"):
        evaluate_editing(EDITORS, MODELS, inr_zoo, shown.expand(-1, 3, -1, -1), edit="dilation")
    with pytest.raises(ZoovetError, match="no networks to evaluate editing on"):
        evaluate_editing(EDITORS, MODELS, inr_zoo.select([]), shown[:0], edit="dilation")
    broken = {"brighter": Brighter(float("nan")), "same": Brighter(0.0)}
    with pytest.raises(ZoovetError, match=r"brighter made the picture of the network '00010-0' of .* NaN or infinite"):
        evaluate_editing(broken, MODELS, inr_zoo, shown, edit="dilation")


def test_examples_show_what_was_measured(inr_zoo, shown):
    targets = (shown + 0.1).clamp(0, 1)
    sources = torch.zeros_like(shown)
    examples = collect_edit_examples(EDITORS, inr_zoo, sources, targets, np.random.default_rng(0), num_networks=3)
    assert len(examples) == 3
    results = evaluate_editing(EDITORS, MODELS, inr_zoo, targets, edit="dilation")
    for example in examples:
        place = results.network_ids.index(example.network_id)
        assert example.mse_before == pytest.approx(results.mse_of_nothing[place], rel=1e-4)
        assert example.mse_after["brighter"] == pytest.approx(results.mse["brighter"][place], rel=1e-4, abs=1e-9)
        assert example.before.shape == (1, 8, 8)
        assert example.before.dtype == np.uint8
        np.testing.assert_array_equal(example.before, (shown[place] * 255).round().clamp(0, 255).to(torch.uint8))
        assert not example.source.any()


def test_networks_find_their_images(inr_zoo):
    digits = load_dataset("digits", "train")
    images = sources_of(inr_zoo, digits, np.array([1, 3]))
    assert torch.equal(images.pixels, digits.pixels[torch.tensor([11, 13])])
    with pytest.raises(ZoovetError, match="shows image 10"):
        sources_of(inr_zoo, digits[torch.arange(10)])


def test_reconstructions_are_networks_beside_their_images(inr_zoo):
    digits = load_dataset("digits", "train")
    places = np.array([1, 3])
    made = collect_reconstructions(inr_zoo, digits.pixels[10 + places].float() / 255, places)
    assert [item.network_id for item in made] == ["00011-0", "00013-0"]
    assert [item.psnr for item in made] == [21.0, 23.0]
    np.testing.assert_array_equal(made[0].image, digits.pixels[11])
    assert made[0].picture.shape == (1, 8, 8)
