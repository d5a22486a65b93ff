"""Rival repairers on networks with a trojan put there by hand, and what each promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import Images, load_dataset
from zoovet.networks import Networks, mlp, run, small_cnn
from zoovet.rivals import (
    AdversarialPruningRepairer,
    ChannelLipschitznessRepairer,
    CleanImages,
    FinePruningRepairer,
    FineTuningRepairer,
)
from zoovet.rivals.adversarial_pruning import HiddenChannels, MaskedNetwork
from zoovet.rivals.channel_lipschitzness import channel_bounds
from zoovet.rivals.clean_images import accuracy_on, cross_entropies, tune
from zoovet.zoo.samples import Samples
from zoovet.zoo.training import network_trainer

GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(8, 8))


@pytest.fixture(scope="module")
def digits() -> Images:
    return load_dataset("digits", "train")


@pytest.fixture(scope="module")
def clean(digits: Images) -> CleanImages:
    return CleanImages.draw(digits, 300, np.random.default_rng(0))


@pytest.fixture(scope="module")
def networks(clean: CleanImages) -> Networks:
    """Two networks that know the digits a little."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, GRAPH.num_parameters, generator=generator) * 0.2
    return tune(Networks.from_flat(GRAPH, start), clean, num_epochs=30, batch_size=50, learning_rate=0.01, seed=0)


@pytest.fixture(scope="module")
def suspicious(networks: Networks) -> Networks:
    """The same, whose channel 3 of the second layer is dead on clean images and pushes class 7 when it wakes."""
    changed = networks.map(torch.clone)
    changed.weights[1][:, 3] = 6.0
    changed.biases[1][:, 3] = -1000.0
    changed.weights[2][:, 7, 3] = 50.0
    return changed


def test_clean_images_are_drawn_once_each(digits: Images) -> None:
    drawn = CleanImages.draw(digits, 50, np.random.default_rng(1))
    again = CleanImages.draw(digits, 50, np.random.default_rng(1))
    assert torch.equal(drawn.images, again.images)
    assert len({tuple(image.flatten().tolist()) for image in drawn.images}) == 50
    with pytest.raises(ZoovetError, match="cannot draw 5000 clean images: 'digits' has"):
        CleanImages.draw(digits, 5000, np.random.default_rng(1))


def test_networks_are_tuned_as_if_each_was_alone(networks: Networks, clean: CleanImages) -> None:
    repairer = FineTuningRepairer(clean=clean, num_epochs=2, learning_rate=1e-3)
    both, alone = repairer.repair(networks), repairer.repair(networks[1])
    torch.testing.assert_close(both[1].flat(), alone.flat(), rtol=1e-4, atol=1e-5)
    assert (
        cross_entropies(both, clean.images, clean.labels) < cross_entropies(networks, clean.images, clean.labels)
    ).all()


def test_fine_pruning_removes_the_channel_that_clean_images_do_not_use(
    suspicious: Networks, clean: CleanImages
) -> None:
    repaired = FinePruningRepairer(clean=clean, num_epochs=1, learning_rate=1e-3).repair(suspicious)
    assert (repaired.weights[1][:, 3] == 0).all()
    assert (repaired.biases[1][:, 3] == 0).all()
    assert (accuracy_on(repaired, clean) >= accuracy_on(suspicious, clean) - 0.08).all()


def test_fine_pruning_keeps_what_accuracy_needs(networks: Networks, clean: CleanImages) -> None:
    careful = FinePruningRepairer(clean=clean, max_accuracy_lost=0.0, num_epochs=0)
    assert (accuracy_on(careful.repair(networks), clean) >= accuracy_on(networks, clean)).all()


def test_fine_pruning_needs_a_hidden_layer(clean: CleanImages) -> None:
    graph = mlp((4, 3), "relu")
    with pytest.raises(ZoovetError, match="these networks have none"):
        FinePruningRepairer(clean=clean).repair(Networks.from_flat(graph, torch.zeros(1, graph.num_parameters)))


def test_channel_bounds_are_spectral_norms() -> None:
    weight = torch.randn(2, 3, 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = np.linalg.svd(weight.flatten(3).numpy(), compute_uv=False)[..., 0]
    torch.testing.assert_close(channel_bounds(weight), torch.from_numpy(expected))
    torch.testing.assert_close(channel_bounds(weight[:, :, :, 0, 0]), weight[:, :, :, 0, 0].norm(dim=2))


def test_clp_prunes_the_channel_that_stands_out_and_no_other(suspicious: Networks) -> None:
    repaired = ChannelLipschitznessRepairer(threshold=2.0).repair(suspicious)
    assert (repaired.weights[1][:, 3] == 0).all()
    kept = [channel for channel in range(8) if channel != 3]
    assert torch.equal(repaired.weights[1][:, kept], suspicious.weights[1][:, kept])
    assert torch.equal(repaired.weights[2], suspicious.weights[2])
    with pytest.raises(ZoovetError, match="threshold must be above 0"):
        ChannelLipschitznessRepairer(threshold=0.0)


def test_anp_prunes_the_channel_that_a_perturbation_wakes(networks: Networks, clean: CleanImages) -> None:
    sensitive = networks.map(torch.clone)
    mean = run(sensitive, clean.images).abs().mean()
    sensitive.weights[1][:, 3] = 0.05
    sensitive.biases[1][:, 3] = 0.05
    sensitive.weights[2][:, 7, 3] = 80.0 * mean
    sensitive.biases[2][:, 7] -= 4.0 * mean
    repairer = AdversarialPruningRepairer(clean=clean, num_steps=40)
    masks = repairer.masks(sensitive)
    assert masks.shape == (2, 16)
    assert (masks[:, 8 + 3] == 0).all()
    assert (masks > 0.5).any(dim=1).all()
    torch.testing.assert_close(repairer.masks(sensitive[1])[0], masks[1])
    repaired = repairer.repair(sensitive)
    assert torch.equal(repaired.flat(), repairer.repair(sensitive).flat())
    assert (repaired.weights[1][:, 3] == 0).all()


def test_anp_prunes_weights_and_keeps_biases(networks: Networks, clean: CleanImages) -> None:
    masks = torch.linspace(0, 1, 16).expand(2, 16)
    pruned = AdversarialPruningRepairer(clean=clean, threshold=masks[0, 5].item()).prune(networks, masks)
    assert all(torch.equal(*biases) for biases in zip(pruned.biases, networks.biases, strict=True))
    assert torch.equal(pruned.weights[0][:, :6], torch.zeros_like(networks.weights[0][:, :6]))
    assert torch.equal(pruned.weights[0][:, 6:], networks.weights[0][:, 6:])
    assert all(torch.equal(pruned.weights[index], networks.weights[index]) for index in (1, 2))


def test_anps_gradients_are_autograds(networks: Networks, clean: CleanImages) -> None:
    generator = torch.Generator().manual_seed(3)
    factors, xi = (torch.rand(16, generator=generator).requires_grad_() for _ in range(2))
    one = networks[0]
    scaled = Networks.from_layers(
        one.graph,
        (
            *(w * f.view(1, 8, 1, 1, 1) for w, f in zip(one.weights, factors.split(8), strict=False)),
            one.weights[2],
        ),
        (*(b * (1 + x) for b, x in zip(one.biases, xi.split(8), strict=False)), one.biases[2]),
    )
    expected = torch.autograd.grad(cross_entropies(scaled, clean.images, clean.labels).sum(), [factors, xi])
    masked = MaskedNetwork(network_trainer(GRAPH), HiddenChannels.of(GRAPH), one.flat()[0].numpy())
    images, everything = clean.images.numpy(), np.arange(len(clean), dtype=np.int32)
    batch = Samples(images, images[:1], everything, clean.labels.int().numpy())
    found = masked.gradients(batch, factors.detach().numpy(), xi.detach().numpy())
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), atol=1e-4 * float(theirs.abs().max()))


def test_repair_leaves_the_given_networks_as_they_are(suspicious: Networks, clean: CleanImages) -> None:
    before = suspicious.flat().clone()
    for repairer in (
        FineTuningRepairer(clean=clean, num_epochs=1),
        FinePruningRepairer(clean=clean, num_epochs=1),
        AdversarialPruningRepairer(clean=clean, num_steps=2),
        ChannelLipschitznessRepairer(),
    ):
        repaired = repairer.repair(suspicious)
        assert repaired.graph == suspicious.graph
        assert not repaired.weights[0].requires_grad
        assert torch.equal(suspicious.flat(), before)
