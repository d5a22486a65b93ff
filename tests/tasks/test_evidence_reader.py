"""A metanetwork that reads evidence: every symmetry respects it, and it is saved and loaded as it always was."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.evidence import Evidence, Inversion, InversionConfig
from zoovet.metanets import Ensemble, ScaleGMNConfig
from zoovet.networks import ZOO_SCALING, Networks, small_cnn
from zoovet.symmetry import assert_equivariant, assert_invariant, random_graph, random_networks
from zoovet.tasks.evidence_reader import EvidenceReader, inversion_of, member_outputs
from zoovet.tasks.metanetworks import build_metanetwork

SHAPE = (1, 9, 9)


def networks_of(activation: str, count: int = 3) -> Networks:
    graph = small_cnn(activation, input_shape=SHAPE, channels=(4, 5), num_classes=3)
    weights = 0.4 * torch.randn(count, graph.num_parameters, generator=torch.Generator().manual_seed(len(activation)))
    return Networks.from_flat(graph, weights)


def with_images(**changes: Any) -> InversionConfig:
    settings = {"patch_size": 3, "num_backgrounds": 2, "num_steps": 1, "images_per_class": 4, "backgrounds": "images"}
    return InversionConfig(**{**settings, **changes})


def images_of_classes(num_classes: int = 3, count: int = 4) -> torch.Tensor:
    return torch.rand(num_classes, count, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def reader(num_members: int = 1, **options: Any) -> EvidenceReader:
    options.setdefault("inversion", InversionConfig(patch_size=3, num_backgrounds=1, num_steps=1))
    config = ScaleGMNConfig(width=6, num_layers=2, input_shape=SHAPE, max_kernel=(3, 3), max_outputs=3, **options)
    made = build_metanetwork(config, 0, "detector", num_members=num_members)
    assert isinstance(made, EvidenceReader)
    if made.inversion.config.needs_images:
        made.inversion.give_images(images_of_classes())
    return made


@pytest.mark.parametrize("readout", ["last_layer", "full_graph", "pooled_outputs"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_probes_and_evidence_respect_every_symmetry(readout: str, direction: str) -> None:
    model = reader(num_probes=4, readout=readout, direction=direction)
    assert_invariant(model, [networks_of("relu"), networks_of("tanh")])


def test_evidence_with_images_and_changes_respects_every_symmetry() -> None:
    model = reader(inversion=with_images(reaches=(0.1, 0.3), next_class=True, num_warps=2, num_stripes=3))
    assert model.inversion.config.num_class_numbers == 2 * 2 * 3 + 8 + 2 * 2 * 3 + 3 + 3
    assert_invariant(model, [networks_of("relu"), networks_of("tanh")])


@pytest.mark.parametrize("symmetrize", [True, False])
def test_edits_that_see_what_was_found_in_every_neuron_respect_every_symmetry(symmetrize: bool) -> None:
    options = {"output": "weights", "readout": "last_layer", "out_scale": 1.0, "symmetrize": symmetrize}
    model = reader(inversion=with_images(reaches=(0.3,), next_class=True, activations=True), **options)
    for activation in ("relu", "tanh"):
        (found,) = model.evidence(networks_of(activation))
        for site, named in found.sites.items():
            assert min(float(tensor.abs().amax((0, 1)).min()) for tensor in named.values()) > 0, site
        assert_equivariant(model, networks_of(activation))


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_gradients_as_features_of_edges_respect_every_symmetry(direction: str, activation: str) -> None:
    options = {"output": "weights", "direction": direction, "out_scale": 1.0}
    model = reader(inversion=with_images(reaches=(0.3,), next_class=True, gradients=True), **options)
    assert_equivariant(model, networks_of(activation))
    without = reader(inversion=with_images(reaches=(0.3,), next_class=True), **options)
    assert model.metanetwork.project_edges.weight.shape[1] == without.metanetwork.project_edges.weight.shape[1] * 6
    assert model.metanetwork.project_nodes.weight.shape[1] == without.metanetwork.project_nodes.weight.shape[1] + 5


def test_evidence_found_out_once_gives_the_same() -> None:
    model = reader(inversion=InversionConfig(patch_size=3, num_backgrounds=2, num_steps=2))
    batches = [networks_of("relu"), networks_of("tanh")]
    torch.testing.assert_close(model(batches, evidence=model.evidence(batches)), model(batches))
    with torch.inference_mode():
        torch.testing.assert_close(model(batches[0]), model(batches)[:3])


def test_networks_of_fewer_classes_are_read_too() -> None:
    graph = small_cnn("relu", input_shape=SHAPE, channels=(4, 5), num_classes=2)
    flat = torch.randn(2, graph.num_parameters, generator=torch.Generator().manual_seed(2))
    model = reader(inversion=with_images(activations=True), output="weights")
    assert_equivariant(model, Networks.from_flat(graph, flat))


def test_evidence_that_does_not_fit_is_refused() -> None:
    model, batch = reader(), networks_of("relu")
    (found,) = model.evidence(batch)
    with pytest.raises(ZoovetError, match=r"reads evidence beside the weights, got none; give evidence="):
        model.metanetwork(batch)
    with pytest.raises(ZoovetError, match=r"evidence must be of the networks given, \[3\] of them, got .* \[2\]"):
        model.metanetwork(batch, evidence=found[:2])
    other = Inversion(InversionConfig(patch_size=3, num_backgrounds=1, num_steps=2), SHAPE, 3)
    with pytest.raises(ZoovetError, match="reads 4 numbers of each class and 0 gradients, got evidence with 6 and 0"):
        model.metanetwork(batch, evidence=other(batch))
    plain = build_metanetwork(ScaleGMNConfig(width=4, num_layers=1), 0, "detector")
    assert inversion_of(plain) is None
    with pytest.raises(ZoovetError, match="reads no evidence; leave it out"):
        plain(batch, evidence=found)


def test_images_come_back_with_a_checkpoint() -> None:
    model = reader(inversion=with_images())
    other = build_metanetwork(
        ScaleGMNConfig(
            width=6, num_layers=2, input_shape=SHAPE, max_kernel=(3, 3), max_outputs=3, inversion=with_images()
        ),
        1,
        "detector",
    )
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(networks_of("relu")), model(networks_of("relu")))


def test_tensors_have_the_names_that_they_had_when_evidence_was_part_of_the_metanetwork() -> None:
    alone, together = reader(), reader(num_members=3)
    names = set(alone.metanetwork.state_dict())
    assert set(alone.state_dict()) == names | {"inversion.backgrounds"}
    members = {f"members.{index}.{name}" for index in range(3) for name in names}
    assert set(together.state_dict()) == members | {"members.0.inversion.backgrounds"}
    outer = torch.nn.ModuleDict({"changes": together})
    assert {name.partition(".")[0] for name in outer.state_dict()} == {"changes"}
    before = {name: tensor.clone() for name, tensor in outer.state_dict().items()}
    for tensor in outer.state_dict().values():
        tensor.zero_()
    outer.load_state_dict(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in outer.state_dict().items())


def test_one_search_serves_all_members(monkeypatch: pytest.MonkeyPatch) -> None:
    together, asked = reader(num_members=3), list[int]()
    assert isinstance(together.metanetwork, Ensemble)
    found = together.inversion.forward
    monkeypatch.setattr(together.inversion, "forward", lambda batch: asked.append(len(batch)) or found(batch))
    batch = networks_of("relu", 4)
    fresh, outputs = together(batch), member_outputs(together, [batch])
    assert asked == [4, 4]
    torch.testing.assert_close(together([batch], evidence=[found(batch)]), fresh)
    torch.testing.assert_close(outputs.mean(0), fresh)
    assert outputs.std(0).min() > 1e-4
    assert asked == [4, 4]


def test_an_ensemble_respects_every_symmetry_and_a_member_that_does_not_shows() -> None:
    both = [networks_of("relu"), networks_of("tanh")]
    together = reader(num_members=2)
    assert_invariant(together, both)
    copied = copy.deepcopy(together)
    config = replace(copied.metanetwork.members[0].config, symmetry="permutation")
    wrong = build_metanetwork(config, 1, "detector")
    copied.metanetwork.members[1] = wrong.metanetwork
    with pytest.raises(AssertionError):
        assert_invariant(copied, both)


@pytest.mark.parametrize("block", ["residual", "squeeze"])
def test_graphs_have_evidence_of_classes_too_and_every_symmetry_respects_it(block: str) -> None:
    generator = torch.Generator().manual_seed(3)
    graph = random_graph(generator, blocks=(block,), num_blocks=1).reading(ZOO_SCALING)
    networks = random_networks(graph, 2, generator)
    inversion = InversionConfig(patch_size=2, num_backgrounds=1, num_steps=1)
    options = {"width": 6, "num_layers": 2, "inversion": inversion, "input_shape": graph.input_shape}
    model = build_metanetwork(ScaleGMNConfig(**options), 0, "detector")
    assert_invariant(model, networks, mode="eval", num_actions=1)
    (found,) = model.evidence(networks)
    other = Evidence(classes={name: tensor + 1 for name, tensor in found.classes.items()})
    assert (model(networks, evidence=[other]) - model(networks, evidence=[found])).abs().max() > 1e-4


@pytest.mark.parametrize("block", ["residual", "squeeze", "dense"])
def test_graphs_have_activations_too_and_every_symmetry_respects_them(block: str) -> None:
    generator = torch.Generator().manual_seed(4)
    graph = random_graph(generator, blocks=(block,), num_blocks=2).reading(ZOO_SCALING)
    networks = random_networks(graph, 2, generator)
    inversion = InversionConfig(patch_size=2, num_backgrounds=1, num_steps=1, activations=True)
    config = ScaleGMNConfig(width=6, num_layers=2, inversion=inversion, input_shape=graph.input_shape)
    model = build_metanetwork(config, 0, "detector")
    assert_invariant(model, networks, mode="eval", num_actions=1)
    (found,) = model.evidence(networks)
    assert len(found.sites) > 3
    for site in found.sites:
        sites = {**found.sites, site: {name: tensor + 1 for name, tensor in found.sites[site].items()}}
        other = Evidence(classes=found.classes, sites=sites)
        assert (model(networks, evidence=[other]) - model(networks, evidence=[found])).abs().max() > 1e-7, site


def test_gradients_of_graphs_are_refused_before_anything_is_sought() -> None:
    graph = random_graph(torch.Generator().manual_seed(3), blocks=("residual",), num_blocks=1)
    config = ScaleGMNConfig(inversion=InversionConfig(images_per_class=1, gradients=True))
    with pytest.raises(ZoovetError, match="probes, and inversion's gradients, are of layers one after another only"):
        config.with_input_shape([graph])
