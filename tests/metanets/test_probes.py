"""Learned probes and patch inversion: every symmetry respects them, and they do what they say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.metanets import InversionConfig, ScaleGMN, ScaleGMNConfig
from zoovet.metanets.answers import mean_activations
from zoovet.metanets.inversion import Inversion
from zoovet.metanets.probes import Probes
from zoovet.networks import Networks, forward, forward_hidden, mlp, small_cnn
from zoovet.symmetry import assert_equivariant, assert_invariant

SHAPE = (1, 9, 9)


def networks_of(activation: str, count: int = 3) -> Networks:
    spec = small_cnn(activation, input_shape=SHAPE, channels=(4, 5), num_classes=3)
    weights = 0.4 * torch.randn(count, spec.num_parameters, generator=torch.Generator().manual_seed(len(activation)))
    return Networks.from_flat(spec, weights)


def config(**options: object) -> ScaleGMNConfig:
    return ScaleGMNConfig(width=6, num_layers=2, input_shape=SHAPE, max_kernel=(3, 3), **options)


def metanetwork(**options: object) -> ScaleGMN:
    return ScaleGMN(config(**options), torch.Generator().manual_seed(0))


def features_of(inversion: Inversion, networks: Networks) -> Tensor:
    features, _ = inversion.unpack(inversion(networks), networks.spec)
    return features


@pytest.mark.parametrize("readout", ["last_layer", "full_graph", "pooled_outputs"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_probes_and_inversion_respect_every_symmetry(readout: str, direction: str) -> None:
    inversion = InversionConfig(patch_size=3, num_backgrounds=1, num_steps=1)
    model = metanetwork(num_probes=4, inversion=inversion, readout=readout, direction=direction)
    assert_invariant(model, [networks_of("relu"), networks_of("tanh")])


def test_edits_with_probes_respect_every_symmetry() -> None:
    assert_equivariant(metanetwork(num_probes=4, output="weights"), [networks_of("relu"), networks_of("tanh")])


def test_probes_see_what_the_networks_do() -> None:
    probes, networks = Probes(5, SHAPE, torch.Generator().manual_seed(0)), networks_of("tanh")
    (features,) = probes([networks])
    logits, hidden = forward_hidden(networks, probes.images())
    assert [tuple(part.shape) for part in features] == [(3, 1, 5), (3, 4, 5), (3, 5, 5), (3, 3, 5)]
    assert float(features[0].abs().max()) == 0
    torch.testing.assert_close(features[1], hidden[0].mean(dim=(-2, -1)).transpose(1, 2))
    torch.testing.assert_close(features[-1], logits.transpose(1, 2))
    assert probes.images().abs().max() <= 1


def test_probes_are_learned_and_drawn_from_the_generator() -> None:
    model = metanetwork(num_probes=4)
    assert torch.equal(model.state_dict()["probes.inputs"], metanetwork(num_probes=4).state_dict()["probes.inputs"])
    model(networks_of("relu")).sum().backward()
    assert model.probes is not None
    assert float(model.probes.inputs.grad.abs().max()) > 0


def test_a_patch_that_works_is_found() -> None:
    """Of two networks that differ in one hidden pattern detector, inversion tells which class a patch can cause."""
    spec = small_cnn("relu", input_shape=SHAPE, channels=(2,), num_classes=3)
    networks = Networks.from_flat(spec, torch.zeros(2, spec.num_parameters))
    networks.weights[0][1, 0, 0] = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, -1.0], [1.0, -1.0, 1.0]])
    networks.biases[0][1, 0] = 0.5  # awake on flat backgrounds too, so that there is a slope to climb
    networks.weights[1][1, 2, 0] = 50.0
    inversion = Inversion(InversionConfig(patch_size=5, num_backgrounds=3, num_steps=4), SHAPE, 3)
    preferences = features_of(inversion, networks).sinh()
    assert preferences.shape == (2, 3, 10)
    harmless = torch.full((3, 10), -torch.tensor(2.0).log())
    torch.testing.assert_close(preferences[0], harmless, atol=1e-5, rtol=0)
    before, after = preferences[1, 2, [0, 5]], preferences[1, 2, [4, 9]]
    assert bool((after > before + 5).all())
    assert bool((after > preferences[1, :2, [4, 9]].max() + 5).all())


def test_inversion_computed_once_gives_the_same() -> None:
    model = metanetwork(inversion=InversionConfig(patch_size=3, num_backgrounds=2, num_steps=2))
    batches = [networks_of("relu"), networks_of("tanh")]
    torch.testing.assert_close(model(batches, inverted=model.invert(batches)), model(batches))
    with torch.inference_mode():
        torch.testing.assert_close(model(batches[0]), model(batches)[:3])


def test_inversion_does_not_depend_on_the_batch() -> None:
    inversion = Inversion(InversionConfig(patch_size=3, num_backgrounds=40, num_steps=2), SHAPE, 3)
    networks = networks_of("relu", 40)
    torch.testing.assert_close(inversion(networks)[7:9], inversion(networks[7:9]), atol=1e-4, rtol=1e-4)
    assert forward(networks, torch.zeros(1, *SHAPE)).std() > 0


def with_images(**changes: Any) -> InversionConfig:
    settings = {"patch_size": 3, "num_backgrounds": 2, "num_steps": 1, "images_per_class": 4, "backgrounds": "images"}
    return InversionConfig(**{**settings, **changes})


def images_of_classes(num_classes: int = 3, count: int = 4) -> torch.Tensor:
    return torch.rand(num_classes, count, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_inversion_with_images_and_changes_respects_every_symmetry() -> None:
    model = metanetwork(inversion=with_images(reaches=(0.1, 0.3), next_class=True, num_warps=2, num_stripes=3))
    model.inversion.give_images(images_of_classes())
    assert features_of(model.inversion, networks_of("relu")).shape[2] == 2 * 2 * 3 + 8 + 2 * 2 * 3 + 3 + 3
    assert_invariant(model, [networks_of("relu"), networks_of("tanh")])


@pytest.mark.parametrize("symmetrize", [True, False])
def test_edits_that_see_what_was_found_in_every_neuron_respect_every_symmetry(symmetrize: bool) -> None:
    options = {"output": "weights", "readout": "last_layer", "out_scale": 1.0, "symmetrize": symmetrize}
    model = metanetwork(inversion=with_images(reaches=(0.3,), next_class=True, activations=True), **options)
    model.inversion.give_images(images_of_classes())
    for activation in ("relu", "tanh"):
        found = features_of(model.inversion, networks_of(activation))
        hidden = found.shape[1] - 3
        assert hidden == sum(group.size for group in networks_of(activation).spec.groups[1:-1])
        activations = 1 + 2 * 3 + 3
        assert found[:, :hidden, : activations - 1].abs().amax((0, 1)).min() > 0
        assert found[:, :hidden, activations:].abs().max() == 0
        assert_equivariant(model, networks_of(activation))


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_gradients_as_features_of_edges_respect_every_symmetry(direction: str, activation: str) -> None:
    options = {"output": "weights", "direction": direction, "out_scale": 1.0}
    model = metanetwork(inversion=with_images(reaches=(0.3,), next_class=True, gradients=True), **options)
    model.inversion.give_images(images_of_classes())
    assert_equivariant(model, networks_of(activation))
    without = metanetwork(inversion=with_images(reaches=(0.3,), next_class=True), **options)
    without.inversion.give_images(images_of_classes())
    assert model.project_edges.weight.shape[1] == without.project_edges.weight.shape[1] * 6
    assert model.project_nodes.weight.shape[1] == without.project_nodes.weight.shape[1] + 5


def test_gradients_are_those_of_the_cross_entropy_and_in_their_places() -> None:
    inversion = Inversion(with_images(gradients=True), SHAPE, 3)
    inversion.give_images(images_of_classes())
    networks, labels = networks_of("tanh"), torch.arange(3).repeat_interleave(4)
    _, (clean, patched) = inversion.unpack(inversion(networks), networks.spec)
    own = networks.map(lambda tensor: tensor.clone().requires_grad_())
    logits = forward(own, images_of_classes().flatten(0, 1))
    losses = [torch.nn.functional.cross_entropy(one, labels) for one in logits]
    sum(losses).backward()
    for index in range(3):
        size = (
            sum((t.grad[index] * t[index]).square().sum() for t in (*own.weights, *own.biases))
            / own.spec.num_parameters
        )
        expected = own.weights[1].grad[index] / (size.sqrt() + 1e-2)
        torch.testing.assert_close(clean.weights[1][index], expected.detach())
    assert (patched.biases[0] - clean.biases[0]).abs().max() > 0


def test_activations_are_those_of_the_network_on_what_was_found() -> None:
    networks = networks_of("relu")
    images = torch.rand(2, 3, *SHAPE, generator=torch.Generator().manual_seed(5)) * 2 - 1
    means = mean_activations(networks, images)
    logits, hidden = forward_hidden(networks, images.flatten(0, 1))
    expected = torch.cat([*(one.flatten(3).mean(3) if one.ndim > 3 else one for one in hidden), logits], dim=2)
    for index in range(2):
        torch.testing.assert_close(means[..., index], expected[:, 3 * index : 3 * index + 3].mean(1))


def test_a_change_within_its_bound_pushes_a_class_and_a_larger_one_more() -> None:
    inversion = Inversion(InversionConfig(patch_size=3, num_steps=4, reaches=(0.05, 0.5)), SHAPE, 3)
    preferences = features_of(inversion, networks_of("tanh")).sinh().unflatten(2, (2, 3, 5))  # set, search, step
    small, large = preferences[:, :, :, 1], preferences[:, :, :, 2]
    torch.testing.assert_close(small[..., 0], large[..., 0])
    assert bool((small[..., 1] > small[..., 0]).all())
    assert bool((large.amax(-1) > small.amax(-1)).all())


def test_images_that_were_not_given_and_images_that_do_not_fit() -> None:
    model = metanetwork(inversion=with_images())
    with pytest.raises(ZoovetError, match="inversion needs images, but none of these classes were given"):
        model(networks_of("relu"))
    with pytest.raises(
        ZoovetError, match=r"takes 4 images a class and 4 backgrounds of \(1, 9, 9\), got \(3, 2, 1, 9, 9\)"
    ):
        model.inversion.give_images(images_of_classes(count=2))
    with pytest.raises(ZoovetError, match=r"reaches must lie above 0 and at most 2 .*, got 3"):
        InversionConfig(reaches=(3.0,))
    with pytest.raises(ZoovetError, match="images_per_class must be at least 0, got -1"):
        InversionConfig(images_per_class=-1)
    with pytest.raises(ZoovetError, match="need known images; set inversion"):
        InversionConfig(next_class=True)


def test_images_come_back_with_a_checkpoint() -> None:
    model = metanetwork(inversion=with_images())
    model.inversion.give_images(images_of_classes())
    other = metanetwork(inversion=with_images())
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(networks_of("relu")), model(networks_of("relu")))


def test_the_input_shape_is_taken_from_the_networks() -> None:
    spec = networks_of("relu").spec
    assert ScaleGMNConfig(num_probes=2).with_input_shape([spec]).input_shape == SHAPE
    assert ScaleGMNConfig(num_probes=2, input_shape=(4,)).with_input_shape([spec]).input_shape == (4,)
    assert ScaleGMNConfig().with_input_shape([spec, mlp((4, 2))]).input_shape is None


def test_what_does_not_fit_is_refused() -> None:
    other = Networks.from_flat(mlp((4, 2)), torch.zeros(1, 10))
    with pytest.raises(ZoovetError, match=r"probes have the shape \(1, 9, 9\), but the networks read inputs of \(4,\)"):
        metanetwork(num_probes=2)(other)
    with pytest.raises(ZoovetError, match=r"set up for inputs of \(1, 9, 9\), but the networks read \(4,\); set"):
        metanetwork(inversion=InversionConfig(patch_size=3))(other)
    with pytest.raises(
        ZoovetError, match=r"inversion needs images .* of at least 10 pixels, got inputs of \(1, 9, 9\)"
    ):
        metanetwork(inversion=InversionConfig(patch_size=10))
    with pytest.raises(ZoovetError, match=r"inversion\.num_steps must be at least 1, got 0"):
        InversionConfig(num_steps=0)
    with pytest.raises(ZoovetError, match="need to know what networks read; set input_shape"):
        ScaleGMN(ScaleGMNConfig(num_probes=2))
    with pytest.raises(ZoovetError, match=r"of one shape, got \[\(1, 9, 9\), \(4,\)\]"):
        ScaleGMNConfig(num_probes=2).with_input_shape([networks_of("relu").spec, other.spec])
    with pytest.raises(ZoovetError, match="has no inversion; set inversion"):
        metanetwork().invert(networks_of("relu"))
