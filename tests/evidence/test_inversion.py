"""Inversion finds what works, says it by name for classes, sites and parameters, and refuses what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence import Evidence, Inversion, InversionConfig, RunnableGraphs, RunnableModule
from zoovet.evidence.answers import means_of_sets
from zoovet.networks import (
    InputScaling,
    Networks,
    forward_hidden,
    mlp,
    rescaled,
    run,
    small_cnn,
    to_module,
)

SHAPE = (1, 9, 9)


def networks_of(activation: str, count: int = 3) -> Networks:
    graph = small_cnn(activation, input_shape=SHAPE, channels=(4, 5), num_classes=3)
    weights = 0.4 * torch.randn(count, graph.num_parameters, generator=torch.Generator().manual_seed(len(activation)))
    return Networks.from_flat(graph, weights)


def preferences_of(evidence: Evidence) -> Tensor:
    """[B, classes, sets, searches, steps + 1]."""
    sets = [[own for name, own in evidence.classes.items() if name.startswith(f"set_{index}.")] for index in range(2)]
    return torch.stack([torch.stack(own, dim=2) for own in sets], dim=2)


def with_images(**changes: Any) -> InversionConfig:
    settings = {"patch_size": 3, "num_backgrounds": 2, "num_steps": 1, "images_per_class": 4, "backgrounds": "images"}
    return InversionConfig(**{**settings, **changes})


def images_of_classes(num_classes: int = 3, count: int = 4) -> torch.Tensor:
    return torch.rand(num_classes, count, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_patch_that_works_is_found() -> None:
    """Of two networks that differ in one hidden pattern detector, inversion tells which class a patch can cause."""
    graph = small_cnn("relu", input_shape=SHAPE, channels=(2,), num_classes=3)
    networks = Networks.from_flat(graph, torch.zeros(2, graph.num_parameters))
    networks.weights[0][1, 0, 0] = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, -1.0], [1.0, -1.0, 1.0]])
    networks.biases[0][1, 0] = 0.5  # awake on flat backgrounds too, so that there is a slope to climb
    networks.weights[1][1, 2, 0] = 50.0
    inversion = Inversion(InversionConfig(patch_size=5, num_backgrounds=3, num_steps=4), SHAPE, 3)
    preferences = preferences_of(inversion(networks)).squeeze(3)
    assert preferences.shape == (2, 3, 2, 5)
    torch.testing.assert_close(preferences[0], torch.full((3, 2, 5), -torch.tensor(2.0).log()), atol=1e-5, rtol=0)
    before, after = preferences[1, 2, :, 0], preferences[1, 2, :, -1]
    assert bool((after > before + 5).all())
    assert bool((after > preferences[1, :2, :, -1].max() + 5).all())


def test_it_does_not_depend_on_the_batch() -> None:
    inversion = Inversion(InversionConfig(patch_size=3, num_backgrounds=40, num_steps=2), SHAPE, 3)
    networks = networks_of("relu", 40)
    whole, some = preferences_of(inversion(networks)), preferences_of(inversion(networks[7:9]))
    torch.testing.assert_close(whole[7:9], some, atol=1e-4, rtol=1e-4)
    assert run(networks, torch.zeros(1, *SHAPE)).std() > 0


def test_chains_graphs_and_modules_give_the_same_evidence_of_classes() -> None:
    inversion = Inversion(with_images(reaches=(0.2,), next_class=True, num_warps=2, num_stripes=2), SHAPE, 3)
    inversion.give_images(images_of_classes())
    scaling = InputScaling(mean=(0.4,), deviation=(0.3,))
    networks = networks_of("tanh", 1).with_scaling(scaling)
    shown = rescaled(networks, InputScaling(low=-1.0, high=1.0))
    expected = inversion(shown)
    assert list(expected.classes)[:4] == ["set_0.patch", "set_0.change_0.2", "set_1.patch", "set_1.change_0.2"]
    for other in (networks, RunnableGraphs(networks), RunnableModule(to_module(networks), SHAPE, scaling)):
        found = inversion(other)
        assert found.classes.keys() == expected.classes.keys()
        for name, tensor in found.classes.items():
            torch.testing.assert_close(tensor, expected.classes[name], atol=1e-3, rtol=1e-3)
    plain = inversion(networks.with_scaling(None))
    assert (plain.classes["own_answers"] - expected.classes["own_answers"]).abs().max() > 1e-3, "the scaling matters"


def test_sites_and_parameters_of_a_chain_are_those_of_its_graph() -> None:
    inversion = Inversion(with_images(activations=True, gradients=True), SHAPE, 3)
    inversion.give_images(images_of_classes())
    networks = networks_of("relu", 2)
    found = inversion(networks)
    in_graph = inversion(RunnableGraphs(networks.with_scaling("symmetric")))
    assert list(found.sites) == ["layers.0.relu", "layers.1.mean", "layers.2"]
    assert list(in_graph.sites) == list(found.sites)
    for site, named in found.sites.items():
        torch.testing.assert_close(named["patch"], in_graph.sites[site]["patch"])
    assert found.parameters.keys() == in_graph.parameters.keys()
    for parameter, named in found.parameters.items():
        assert list(named) == ["clean", "patch"]
        own = in_graph.parameters[parameter]["patch"]
        torch.testing.assert_close(named["patch"], own, atol=1e-4, rtol=1e-4)


def test_gradients_are_those_of_the_cross_entropy_and_in_their_places() -> None:
    inversion = Inversion(with_images(gradients=True), SHAPE, 3)
    inversion.give_images(images_of_classes())
    networks, labels = networks_of("tanh"), torch.arange(3).repeat_interleave(4)
    found = inversion(networks).parameters
    own = networks.map(lambda tensor: tensor.clone().requires_grad_())
    logits = run(own, images_of_classes().flatten(0, 1))
    losses = [torch.nn.functional.cross_entropy(one, labels) for one in logits]
    sum(losses).backward()
    for index in range(3):
        size = (
            sum((t.grad[index] * t[index]).square().sum() for t in (*own.weights, *own.biases))
            / own.graph.num_parameters
        )
        expected = own.weights[1].grad[index] / (size.sqrt() + 1e-2)
        torch.testing.assert_close(found["layers.1.weight"]["clean"][index], expected.detach())
    first = found["layers.0.bias"]
    assert (first["patch"] - first["clean"]).abs().max() > 0


def test_activations_are_those_of_the_network_on_what_was_found() -> None:
    networks = networks_of("relu")
    images = torch.rand(2, 3, *SHAPE, generator=torch.Generator().manual_seed(5)) * 2 - 1
    means = torch.cat(list(means_of_sets(RunnableGraphs(networks.with_scaling("symmetric")), images).values()), dim=1)
    logits, hidden = forward_hidden(networks, images.flatten(0, 1))
    expected = torch.cat([*(one.flatten(3).mean(3) if one.ndim > 3 else one for one in hidden), logits], dim=2)
    for index in range(2):
        torch.testing.assert_close(means[..., index], expected[:, 3 * index : 3 * index + 3].mean(1))


def test_a_change_within_its_bound_pushes_a_class_and_a_larger_one_more() -> None:
    inversion = Inversion(InversionConfig(patch_size=3, num_steps=4, reaches=(0.05, 0.5)), SHAPE, 3)
    preferences = preferences_of(inversion(networks_of("tanh")))
    small, large = preferences[:, :, :, 1], preferences[:, :, :, 2]
    torch.testing.assert_close(small[..., 0], large[..., 0])
    assert bool((small[..., 1] > small[..., 0]).all())
    assert bool((large.amax(-1) > small.amax(-1)).all())


MANY = {"reaches": (0.3, 0.1), "next_class": True, "num_warps": 2, "num_stripes": 1}
FAMILIES = {"pixel_counts": (4,), "stripe_amplitudes": (0.3, 0.5), "warp_movements": (0.1,)}


@pytest.mark.parametrize("config", [with_images(), with_images(**MANY), with_images(**MANY, **FAMILIES)])
def test_the_configuration_says_how_many_numbers_there_are(config: InversionConfig) -> None:
    config = with_images(**{**vars(config), "activations": True, "gradients": True})
    inversion = Inversion(config, SHAPE, 3)
    inversion.give_images(images_of_classes())
    found = inversion(networks_of("relu", 1))
    assert sum(tensor[0, 0].numel() for tensor in found.classes.values()) == config.num_class_numbers
    for named in found.sites.values():
        assert sum(tensor.shape[2] for tensor in named.values()) == config.num_site_numbers(3)
    assert {len(named) for named in found.parameters.values()} == {config.num_gradients}


def test_images_that_were_not_given_and_what_does_not_fit() -> None:
    inversion = Inversion(with_images(), SHAPE, 3)
    with pytest.raises(ZoovetError, match="inversion needs images, but none of these classes were given"):
        inversion(networks_of("relu"))
    with pytest.raises(
        ZoovetError, match=r"takes 4 images a class and 4 backgrounds of \(1, 9, 9\), got \(3, 2, 1, 9, 9\)"
    ):
        inversion.give_images(images_of_classes(count=2))
    fewer = Inversion(with_images(), SHAPE, 2)
    fewer.give_images(images_of_classes(2))
    with pytest.raises(ZoovetError, match="set up for at most 2 classes, but the networks tell 3 apart"):
        fewer(networks_of("relu"))
    other = Networks.from_flat(mlp((4, 2)), torch.zeros(1, 10))
    with pytest.raises(ZoovetError, match=r"set up for inputs of \(1, 9, 9\), but the networks read \(4,\); set"):
        Inversion(InversionConfig(patch_size=3), SHAPE, 3)(other)
    with pytest.raises(
        ZoovetError, match=r"inversion needs images .* of at least 10 pixels, got inputs of \(1, 9, 9\)"
    ):
        Inversion(InversionConfig(patch_size=10), SHAPE, 3)
    module = RunnableModule(to_module(networks_of("relu", 1)), SHAPE, InputScaling())
    with pytest.raises(ZoovetError, match="activations and gradients need networks whose graph is known"):
        Inversion(InversionConfig(patch_size=3, activations=True), SHAPE, 3)(module)


def test_settings_that_are_refused() -> None:
    with pytest.raises(ZoovetError, match=r"reaches must lie above 0 and at most 2 .*, got 3"):
        InversionConfig(reaches=(3.0,))
    with pytest.raises(ZoovetError, match=r"inversion\.stripe_amplitudes must lie above 0 .*, got 0"):
        InversionConfig(stripe_amplitudes=(0.0,))
    with pytest.raises(ZoovetError, match=r"inversion\.warp_movements must lie above 0 and at most 1 .*, got 1.5"):
        InversionConfig(warp_movements=(1.5,))
    with pytest.raises(ZoovetError, match=r"inversion\.pixel_counts must be at least 1, got \[0\]"):
        InversionConfig(pixel_counts=(0,))
    with pytest.raises(ZoovetError, match="images_per_class must be at least 0, got -1"):
        InversionConfig(images_per_class=-1)
    with pytest.raises(ZoovetError, match="need known images; set inversion"):
        InversionConfig(next_class=True)
    with pytest.raises(ZoovetError, match=r"inversion\.num_steps must be at least 1, got 0"):
        InversionConfig(num_steps=0)
