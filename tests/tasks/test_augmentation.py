"""Augmentations keep what they promise to keep: functions on turned images, functions up to their classes' order."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence import Inversion, InversionConfig
from zoovet.networks import INPUT, Graph, LayerSpec, Networks, PoolSpec, run, small_cnn
from zoovet.tasks.augmentation import AugmentationConfig, View, draw_augmented, perturb
from zoovet.tasks.population import Population
from zoovet.zoo import Zoo
from zoovet.zoo.park.families.layers import LayerBuilder

UNSTRIDED = Graph.of_layers(
    input_shape=(1, 6, 6),
    layers=(
        LayerSpec(kind="conv", in_channels=1, out_channels=3, kernel=(3, 3), padding=(1, 1), activation="relu"),
        LayerSpec(kind="conv", in_channels=3, out_channels=2, kernel=(3, 3), padding=(1, 1), activation="tanh"),
        LayerSpec(kind="linear", in_channels=2, out_channels=4, kernel=(6, 6)),
    ),
)
"""Turning its kernels is turning its images, exactly."""

CONFIG = InversionConfig(
    patch_size=3,
    reaches=(0.3,),
    images_per_class=4,
    next_class=True,
    num_warps=1,
    pixel_counts=(3,),
    activations=True,
    num_backgrounds=2,
    num_steps=1,
)

OBLONG = Graph.of_layers(
    input_shape=(1, 4, 6),
    layers=(
        LayerSpec(
            kind="conv", in_channels=1, out_channels=2, kernel=(1, 3), activation="relu", pool=PoolSpec(kind="global")
        ),
        LayerSpec(kind="linear", in_channels=2, out_channels=3),
    ),
)


def networks_of(graph: Graph, count: int, seed: int = 0) -> Networks:
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randn(count, graph.num_parameters, generator=generator, dtype=torch.float64)
    return Networks.from_flat(graph, flat)


def augmented(networks: Networks, siblings: Networks | None = None, seed: int = 0, **options: Any) -> Networks:
    generator, config = torch.Generator().manual_seed(seed), AugmentationConfig(**options)
    networks = perturb(networks, siblings or networks, config, generator)
    return View.draw(networks, config, generator).apply(networks)


def symmetries(images: Tensor) -> list[Tensor]:
    """The eight ways to turn and mirror images [..., H, H]."""
    return [
        view
        for turned in (images, images.mT)
        for flipped in (turned, turned.flip(-1))
        for view in (flipped, flipped.flip(-2))
    ]


def test_nothing_is_changed_by_default() -> None:
    networks = networks_of(UNSTRIDED, 5)
    assert torch.equal(augmented(networks, networks_of(UNSTRIDED, 5, seed=1)).flat(), networks.flat())


def residual() -> Graph:
    """A convolution, a block around which a shortcut leads, a linear layer on its maps."""
    make = LayerBuilder((1, 6, 6), "none", "tanh")
    stem = make.activation(make.conv(INPUT, 3))
    total = make.add("add", stem, make.conv(make.activation(make.conv(stem, 4)), 3))
    return make.graph(make.linear(make.add("flatten", total), 4))


@pytest.mark.parametrize("graph", [UNSTRIDED, residual()], ids=["chain", "residual"])
def test_turned_kernels_are_the_same_network_for_turned_images(graph: Graph) -> None:
    networks = networks_of(graph, 60)
    images = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    after = run(augmented(networks, kernel_symmetries=True), images)
    before = torch.stack([run(networks, view) for view in symmetries(images)])
    same = ((before - after).abs() < 1e-10).all(dim=-1).all(dim=-1)
    assert (same.sum(dim=0) == 1).all()
    assert same.any(dim=1).all()


def test_kernels_that_are_not_square_are_only_mirrored() -> None:
    networks = networks_of(OBLONG, 40)
    after = augmented(networks, kernel_symmetries=True)
    mirrored = (after.weights[0] == networks.weights[0].flip(-1)).flatten(1).all(dim=1)
    same = (after.weights[0] == networks.weights[0]).flatten(1).all(dim=1)
    assert (mirrored ^ same).all()
    assert mirrored.any()
    assert same.any()


def test_classes_of_a_residual_network_are_not_shuffled() -> None:
    with pytest.raises(ZoovetError, match="class_permutations is for networks of layers one after another; set it to"):
        augmented(networks_of(residual(), 2), class_permutations=True)


def test_shuffled_classes_are_the_same_answers_in_another_order() -> None:
    networks = networks_of(UNSTRIDED, 20)
    images = torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    before, after = run(networks, images), run(augmented(networks, class_permutations=True), images)
    torch.testing.assert_close(before.sort(dim=2).values, after.sort(dim=2).values)
    assert len({tuple(row) for row in (before.argsort(2)[:, 0] - after.argsort(2)[:, 0]).tolist()}) > 10


def test_mixing_moves_along_the_line_between_siblings() -> None:
    networks, siblings = networks_of(UNSTRIDED, 50), networks_of(UNSTRIDED, 50, seed=1)
    moved = augmented(networks, siblings, sibling_mixing=0.3).flat() - networks.flat()
    line = siblings.flat() - networks.flat()
    shares = (moved * line).sum(dim=1) / line.square().sum(dim=1)
    torch.testing.assert_close(moved, shares[:, None] * line)
    assert -0.3 <= shares.min() < -0.2
    assert 0.2 < shares.max() <= 0.3
    assert torch.equal(augmented(networks, networks, sibling_mixing=0.3).flat(), networks.flat())


def test_noise_is_relative_to_each_tensor_of_each_network() -> None:
    networks = networks_of(small_cnn(), 4)
    scaled = Networks.from_layers(
        networks.graph, tuple(10.0**k * w for k, w in enumerate(networks.weights)), networks.biases
    )
    noise = Networks.from_flat(scaled.graph, augmented(scaled, weight_noise=0.1).flat() - scaled.flat())
    for own, added in zip(scaled.weights, noise.weights, strict=True):
        ratios = added.flatten(1).std(dim=1) / own.flatten(1).std(dim=1)
        torch.testing.assert_close(ratios, torch.full_like(ratios, 0.1), rtol=0.25, atol=0)


@pytest.mark.parametrize("graph", [UNSTRIDED, OBLONG, small_cnn(), residual()])
def test_a_view_is_undone_exactly(graph: Graph) -> None:
    networks = networks_of(graph, 40)
    config = AugmentationConfig(kernel_symmetries=True, class_permutations=graph.is_chain)
    view = View.draw(networks, config, torch.Generator().manual_seed(0))
    assert not torch.equal(view.apply(networks).flat(), networks.flat())
    assert torch.equal(view.undo(view.apply(networks)).flat(), networks.flat())


def _search(where: tuple[str, ...]) -> str:
    return re.sub(r"^(set_\d|next)\.", "", where[-1])


def test_searches_are_dropped_whole_and_of_each_network_by_itself(zoo: Zoo) -> None:
    population = Population.of_zoo(zoo.split("train"), 0.5)
    inversion = Inversion(CONFIG, population.graphs[0].input_shape, 10)
    inversion.give_images(torch.rand(10, 4, *population.graphs[0].input_shape) * 2 - 1)
    known = population.with_evidence(lambda networks: [inversion(own) for own in networks])
    indices = torch.arange(len(known)).repeat(3)
    (plain, _), (thinned, _) = (
        draw_augmented(known, indices, AugmentationConfig(search_dropout=share), torch.Generator().manual_seed(0))
        for share in (0.0, 0.5)
    )
    assert plain.evidence is not None
    assert thinned.evidence is not None
    seen = set()
    for before, after in zip(plain.evidence, thinned.evidence, strict=True):
        for row in range(len(before)):
            whole, own = dict(before[[row]].named()), dict(after[[row]].named())
            gone = {where for where, tensor in own.items() if bool(whole[where].any()) and not bool(tensor.any())}
            searches = {_search(where) for where in gone}
            assert searches <= {"patch", "change_0.3", "pixels_3"}
            for where, tensor in own.items():
                is_gone = _search(where) in searches
                assert torch.equal(tensor, torch.zeros_like(tensor) if is_gone else whole[where]), where
            seen.add(frozenset(searches))
    assert len(seen) > 2


def test_a_drawn_batch_is_a_populations_with_a_view_for_each_spec(zoo: Zoo) -> None:
    population = Population.of_zoo(zoo.split("train"), 0.5)
    indices = torch.tensor([3, 0, 9, 2])
    config = AugmentationConfig(class_permutations=True)
    batch, views = draw_augmented(population, indices, config, torch.Generator().manual_seed(0))
    expected = population.batch(indices)
    assert torch.equal(batch.indices, expected.indices)
    for own, plain, view in zip(batch.networks, expected.networks, views, strict=True):
        assert torch.equal(own.flat(), plain.flat())
        assert view.turns is None
        assert view.classes is not None
        assert view.classes.shape == (len(own), own.graph.num_outputs)


def test_draws_come_from_the_generator_alone() -> None:
    options = {"weight_noise": 0.1, "sibling_mixing": 0.2, "kernel_symmetries": True, "class_permutations": True}
    networks, siblings = networks_of(UNSTRIDED, 5), networks_of(UNSTRIDED, 5, seed=1)
    first, again, other = (augmented(networks, siblings, seed, **options).flat() for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_noise": -0.1}, "weight_noise must lie between 0 and 1, got -0.1"),
        ({"search_dropout": 1.0}, "search_dropout must be at least 0 and below 1, got 1.0"),
        ({"sibling_mixing": 0.5}, "sibling_mixing must be at least 0 and below 0.5, got 0.5"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        AugmentationConfig(**options)
