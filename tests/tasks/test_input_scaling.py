"""Networks of every input scaling are run as they were trained; those of [-1, 1] are vetted to the bit as ever."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoovet.evidence import Inversion, InversionConfig
from zoovet.metanets import ScaleGMNConfig
from zoovet.metanets.probes import Probes
from zoovet.networks import (
    ZOO_SCALING,
    Graph,
    InputScaling,
    LayerSpec,
    Networks,
    PoolSpec,
    rescaled,
    scaling_preset,
    small_cnn,
)
from zoovet.tasks.detector import Detector
from zoovet.tasks.editor import Editor
from zoovet.tasks.invariant_statistics import invariant_statistics
from zoovet.tasks.last_layer_refit import LastLayerRefit, RefitConfig
from zoovet.tasks.metanetworks import build_metanetwork
from zoovet.tasks.repairer import TrainedRepairer

MEAN_STD = InputScaling(mean=(0.286,), deviation=(0.353,))
SCALINGS = (scaling_preset("unit"), scaling_preset("byte"), MEAN_STD)
UNPADDED = Graph.of_layers(
    input_shape=(1, 8, 8),
    layers=(
        LayerSpec(kind="conv", in_channels=1, out_channels=4, kernel=(3, 3), stride=(2, 2), activation="relu"),
        LayerSpec(
            kind="conv",
            in_channels=4,
            out_channels=5,
            kernel=(2, 2),
            activation="relu",
            pool=PoolSpec(kind="global"),
        ),
        LayerSpec(kind="linear", in_channels=5, out_channels=3),
    ),
)
"""Without padding, so that a network can be converted to another scaling by its first layer alone."""


def drawn(graph: Graph, count: int = 2, seed: int = 0) -> Networks:
    flat = torch.randn(count, graph.num_parameters, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Networks.from_flat(graph, 0.4 * flat).with_scaling(ZOO_SCALING)


def converted(networks: Networks, scaling: InputScaling) -> Networks:
    """The same function of pixels, of networks of [-1, 1] on one channel without padding, by hand."""
    ((gain,), (offset,)) = scaling.affine(1)
    factor, start = 2 / gain, -1 - 2 * offset / gain
    weight = networks.weights[0]
    bias = networks.biases[0] + start * weight.sum((2, 3, 4))
    own = Networks.from_layers(networks.graph, (factor * weight, *networks.weights[1:]), (bias, *networks.biases[1:]))
    return own.with_scaling(scaling)


def inversion(*, gradients: bool = False) -> Inversion:
    config = InversionConfig(
        patch_size=3,
        reaches=(0.3,),
        images_per_class=3,
        next_class=True,
        num_warps=2,
        num_stripes=2,
        activations=True,
        gradients=gradients,
        backgrounds="images",
        num_backgrounds=2,
        num_steps=2,
    )
    made = Inversion(config, UNPADDED.input_shape, UNPADDED.num_outputs)
    made.give_images(2 * torch.rand(3, 3, 1, 8, 8, generator=torch.Generator().manual_seed(4)) - 1)
    return made


def editor(*, strength: float = 1.0) -> Editor:
    config = ScaleGMNConfig(
        output="weights",
        width=4,
        num_layers=2,
        num_probes=2,
        inversion=InversionConfig(patch_size=3, num_steps=1),
        input_shape=(1, 8, 8),
        out_scale=0.5,
    )
    refit = None
    if strength:
        refit = LastLayerRefit(RefitConfig(images_per_class=2), (1, 8, 8), 3)
        refit.give_images(2 * torch.rand(3, 2, 1, 8, 8, generator=torch.Generator().manual_seed(4)) - 1)
    made = Editor(build_metanetwork(config, 0, "repairer"), None, refit)
    made.strength = strength
    return made


@pytest.mark.parametrize("scaling", SCALINGS)
def test_searches_answers_and_activations_are_those_of_the_same_function(scaling: InputScaling) -> None:
    networks, search = drawn(UNPADDED), inversion()
    expected = dict(search(networks).named())
    other = converted(networks, scaling)
    found, unscaled = dict(search(rescaled(other, ZOO_SCALING)).named()), dict(search(other.with_scaling(None)).named())
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor)
    assert any(not torch.allclose(unscaled[name], tensor, atol=0.1) for name, tensor in expected.items())
    probes = Probes(3, UNPADDED.input_shape, torch.Generator().manual_seed(0)).double()
    for ours, theirs in zip(probes([rescaled(other, ZOO_SCALING)])[0], probes([networks])[0], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradients_of_the_loss_are_the_networks_own() -> None:
    networks, search = drawn(UNPADDED), inversion(gradients=True)
    other = rescaled(converted(networks, MEAN_STD), ZOO_SCALING)
    expected, found = search(networks).parameters, search(other).parameters
    for name in expected["layers.0.weight"]:
        ours, theirs = (
            Networks(UNPADDED, {parameter: named[name] for parameter, named in own.items()})
            for own in (found, expected)
        )
        ratio = ours.biases[-1] / theirs.biases[-1]  # all are divided by a size that depends on the first layer too
        torch.testing.assert_close(ours.weights[1], theirs.weights[1] * ratio[:, :1, None, None, None])
        assert not torch.allclose(ours.weights[0], theirs.weights[0] * ratio[:, :1, None, None, None])


@pytest.mark.parametrize("scaling", SCALINGS)
def test_fixed_patterns_and_the_refits_images_are_shown_in_the_networks_scaling(scaling: InputScaling) -> None:
    networks = drawn(UNPADDED)
    other = rescaled(converted(networks, scaling), ZOO_SCALING)
    statistics, expected = invariant_statistics(other), invariant_statistics(networks)
    for part in ("size", "answers"):
        torch.testing.assert_close(statistics[part], expected[part])
    refit = LastLayerRefit(RefitConfig(images_per_class=2), UNPADDED.input_shape, 3).double()
    refit.give_images(2 * torch.rand(3, 2, 1, 8, 8, generator=torch.Generator().manual_seed(4)) - 1)
    refitted, expected_refit = refit(other), refit(networks)
    torch.testing.assert_close(refitted.weights[-1], expected_refit.weights[-1])
    torch.testing.assert_close(refitted.biases[-1], expected_refit.biases[-1])
    assert changes(refitted, networks)[-1] > 1e-3


@pytest.mark.parametrize("name", ["fashion-mnist-small-cnn"])
def test_the_shipped_detectors_say_to_the_bit_what_they_said(name: str) -> None:
    detector = Detector.shipped(name)
    own = drawn(small_cnn()).to(dtype=torch.float32)
    halves = own.with_scaling(InputScaling(mean=(0.5,), deviation=(0.5,)))
    for read in (detector.score, detector.in_distribution):
        expected = read(own.with_scaling(None))
        assert torch.equal(read(own), expected)
        assert torch.equal(read(halves), expected)


def test_batches_of_several_scalings_go_in_one_call() -> None:
    config = ScaleGMNConfig(
        width=4, num_layers=1, num_probes=2, inversion=InversionConfig(patch_size=3), input_shape=(1, 8, 8)
    )
    detector = Detector(build_metanetwork(config, 0, "detector"), [UNPADDED], 0.5)
    scalings = (None, ZOO_SCALING, *SCALINGS)
    some = [drawn(UNPADDED, 2, seed).with_scaling(scaling) for seed, scaling in enumerate(scalings)]
    apart = torch.cat([detector.score(batch) for batch in some])
    torch.testing.assert_close(detector.score(some), apart)
    unsaid = detector.score([batch.with_scaling(None) for batch in some])
    assert torch.equal(unsaid[:4], apart[:4])
    assert bool(((unsaid[4:] - apart[4:]).abs() > 1e-6).all())


@pytest.mark.parametrize("scaling", [None, ZOO_SCALING, *SCALINGS])
def test_a_repaired_network_reads_what_it_read(scaling: InputScaling | None) -> None:
    own = drawn(UNPADDED).with_scaling(scaling)
    (repaired,) = TrainedRepairer(editor(), [UNPADDED]).repair([own])
    assert repaired.graph == own.graph
    assert repaired.graph.input_scaling == scaling
    assert repaired.dtype == own.dtype
    assert changes(repaired, own).min() > 1e-3
    plain = TrainedRepairer(editor(), [UNPADDED]).repair(own.with_scaling(None))
    assert torch.equal(plain.flat(), repaired.flat()) == (scaling in (None, ZOO_SCALING))


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_network_that_is_not_edited_comes_back_bit_for_bit(scaling: InputScaling) -> None:
    own = drawn(UNPADDED).to(dtype=torch.float32).with_scaling(scaling)
    assert torch.equal(TrainedRepairer(editor(strength=0.0), [UNPADDED]).repair(own).flat(), own.flat())


def changes(after: Networks, before: Networks) -> Tensor:
    """Greatest change of each layer's weights, [layers]."""
    return torch.stack([(a - b).abs().max() for a, b in zip(after.weights, before.weights, strict=True)])
