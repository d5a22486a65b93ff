"""Graphs of every family on images of any shape, and that compiled code trains them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, Networks, run
from zoovet.zoo.native.graph_source import graph_source
from zoovet.zoo.native.libraries import NativeUnavailable
from zoovet.zoo.park.families import (
    DensenetFamily,
    Family,
    MlpFamily,
    PlainFamily,
    ResnetFamily,
    SeparableFamily,
    SqueezeFamily,
    VggFamily,
    VitFamily,
    WideResnetFamily,
    num_layers,
)
from zoovet.zoo.samples import OptimizerMemory, Samples, Schedule
from zoovet.zoo.torch_network import TorchNetwork
from zoovet.zoo.training import initial_weights

FAMILIES: tuple[Family, ...] = (
    PlainFamily(norm=("none", "batch"), kernel=(3, 5)),
    VggFamily(),
    ResnetFamily(stem_stride=(1, 2)),
    WideResnetFamily(),
    SeparableFamily(),
    DensenetFamily(),
    MlpFamily(),
)
SHAPES = ((1, 8, 8), (3, 32, 32), (1, 28, 20), (3, 17, 23))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: str(family.family))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_family_takes_images_of_any_shape(family: Family, shape: tuple[int, int, int]) -> None:
    family = replace(family, activation=("relu", "silu", "elu"))
    for seed in range(3):
        graph = family.graph(family.draw(np.random.default_rng(seed)), shape, 7)
        assert graph.output_shape == (7,)
        assert "zoovet_train" not in graph_source(graph)  # it is written, for all operations of the graph
        weights = torch.from_numpy(initial_weights(graph, "he", 0.1, np.random.default_rng(seed)))[None]
        logits = run(Networks.from_flat(graph, weights), torch.rand(2, *shape))
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: str(family.family))
def test_group_norms_train_through_torch(family: Family) -> None:
    family = replace(family, norm=("group",))
    graph = family.graph(family.draw(np.random.default_rng(0)), (3, 16, 16), 7)
    norms = [one for one in graph.operations if one.op.endswith("_norm")]
    assert norms
    assert {one.op for one in norms} == {"group_norm"}
    assert not [name for name in graph.shapes if "running" in name]
    with pytest.raises(NativeUnavailable, match="group_norm"):
        graph_source(graph)
    weights = torch.from_numpy(initial_weights(graph, "he", 0.1, np.random.default_rng(0)))[None]
    assert torch.isfinite(run(Networks.from_flat(graph, weights), torch.rand(2, 3, 16, 16))).all()


@pytest.mark.parametrize("shape", [*SHAPES, (1, 28, 28)], ids=str)
@pytest.mark.parametrize("order", ["post", "pre"])
def test_shortcuts_that_pool_take_odd_maps_too(order: str, shape: tuple[int, int, int]) -> None:
    for stem_stride in (1, 2):
        family = ResnetFamily(order=(order,), shortcut=("pool",), stem_stride=(stem_stride,))
        assert family.graph(family.draw(np.random.default_rng(0)), shape, 3).output_shape == (3,)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_squeezed_networks_take_images_of_any_shape_and_train_through_torch(shape: tuple[int, int, int]) -> None:
    family = SqueezeFamily()
    graph = family.graph(family.draw(np.random.default_rng(0)), shape, 2)
    with pytest.raises(NativeUnavailable, match="mul"):
        graph_source(graph)
    losses = losses_through_torch(graph)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("reads", ["mean", "token"])
def test_transformers_take_images_of_any_shape_and_train_through_torch(shape: tuple[int, int, int], reads: str) -> None:
    family = VitFamily(reads=(reads,))
    settings = family.draw(np.random.default_rng(0))
    graph = family.graph(settings, shape, 2)
    rows = (shape[1] // 4) * (shape[2] // 4) + (reads == "token")
    assert graph.shapes["places"] == (rows, settings["heads"] * settings["head_width"])
    assert num_layers(graph) == 1 + settings["depth"] * 6 + 1
    with pytest.raises(NativeUnavailable, match="it does not know the operation"):
        graph_source(graph)
    losses = losses_through_torch(graph)
    assert losses[-1] < 0.8 * losses[0]


def losses_through_torch(graph: Graph) -> list[float]:
    """Of six epochs on images of two classes."""
    trainer, generator = TorchNetwork(graph), np.random.default_rng(0)
    images = generator.normal(size=(16, *graph.input_shape)).astype(np.float32)
    labels = (images[:, 0].mean(axis=(1, 2)) > 0).astype(np.int32)
    samples = Samples(images, images[:0], np.arange(16, dtype=np.int32), labels)
    parameters = trainer.pack(initial_weights(graph, "he", 0.1, generator))
    schedule = Schedule(optimizer="adam", learning_rate=0.01, weight_decay=0, dropout=0, batch_size=16, epochs=1)
    memory = OptimizerMemory.fresh(parameters)
    return [trainer.train(parameters, memory, samples, schedule, 0) for _ in range(6)]


def test_depths_are_those_of_the_papers() -> None:
    settings = {"norm": "batch", "activation": "relu"}
    shape = (3, 32, 32)

    def layers(family: Family) -> int:
        return num_layers(family.graph({**settings, **family.draw_sizes(np.random.default_rng(0))}, shape, 10))

    assert layers(ResnetFamily(depth=(8,))) == 8 + 2  # two strided shortcuts
    assert layers(ResnetFamily(depth=(14,), order=("pre",))) == 14 + 2
    assert layers(WideResnetFamily(depth=(10,))) == 10 + 3 - 2  # n = 1: 1 + 6 + 1 and three shortcuts
    assert layers(VggFamily(depth=(7, 7), hidden=(1, 1))) == 9
    assert layers(SeparableFamily(depth=(4, 4))) == 10
    assert layers(DensenetFamily(depth=(2, 2))) == 1 + 3 * 2 + 2 + 1
    assert layers(MlpFamily(depth=(2, 2))) == 3


def test_multiplications_are_counted() -> None:
    family = PlainFamily(depth=(1, 1), width=(4, 4), pooling=("none",), hidden=(0, 0), head=("mean",))
    graph = family.graph(family.draw(np.random.default_rng(0)), (3, 8, 8), 5)
    assert graph.num_multiplications == 4 * 4 * 4 * 27 + 5 * 4


def test_draws_follow_from_the_generator_and_stay_in_their_ranges() -> None:
    family = ResnetFamily(depth=(8, 14), width=(4, 6), norm=("batch", "none"))
    drawn = [family.draw(np.random.default_rng(seed)) for seed in range(40)]
    assert drawn == [family.draw(np.random.default_rng(seed)) for seed in range(40)]
    assert {one["width"] for one in drawn} == {4, 5, 6}
    assert {one["depth"] for one in drawn} == {8, 14}
    assert {one["norm"] for one in drawn} == {"batch", "none"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PlainFamily(depth=(4, 2)), r"depth must be \[least, greatest\], within 1 to 16, got \[4, 2\]"),
        (lambda: PlainFamily(kernel=(4,)), r"kernel must hold odd sides of 1 to 11, got \[4\]"),
        (lambda: VggFamily(width=(8, 64)), r"max_width must be \[least, greatest\], within 64"),
        (lambda: ResnetFamily(depth=(9,)), r"depth of a resnet must hold numbers 6 n \+ 2 of 8 to 56, got \[9\]"),
        (lambda: WideResnetFamily(depth=(8,)), r"depth of a wide_resnet must hold numbers 6 n \+ 4"),
        (lambda: ResnetFamily(stem_stride=(3,)), r"stem_stride must hold 1 or 2, got \[3\]"),
        (lambda: MlpFamily(activation=("relo",)), "activation has the unknown entry 'relo'; did you mean 'relu'"),
        (lambda: VitFamily(patch=(1,)), r"patch of a vit must hold numbers of 2 to 16, got \[1\]"),
        (lambda: VitFamily(reads=("class",)), "reads has the unknown entry 'class'"),
        (
            lambda: VitFamily().graph(VitFamily().draw(np.random.default_rng(0)), (1, 7, 9), 2),
            "patches of 4 pixels are fewer than 2 x 2 on images of 7 x 9; give a smaller patch",
        ),
        (lambda: MlpFamily(norm=()), "norm must not be empty; known: 'batch', 'group', 'none'"),
        (lambda: MlpFamily(share=0), "share must be above 0, got 0; leave a family out"),
        (lambda: MlpFamily(accuracy=1.5), "accuracy must be above 0 and at most 1, got 1.5"),
        (lambda: MlpFamily(variants=0), "variants must be at least 1, got 0"),
    ],
)
def test_ranges_that_make_no_sense(make: type[Family], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        make()
