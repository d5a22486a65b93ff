"""Networks trained side by side go the way that each of them goes alone, in the compiled trainer and in torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, LayerSpec, Networks, PoolSpec, mlp, run, small_cnn
from zoovet.networks.ops.linear import convolve_unfolded
from zoovet.zoo.native import compile_chain
from zoovet.zoo.samples import Anchor, Floats, Samples, Schedule
from zoovet.zoo.side_by_side import ResidentImages, Training, classify_side_by_side, train_side_by_side
from zoovet.zoo.torch_network import TorchNetwork
from zoovet.zoo.training import initial_weights, train_network

RELU = small_cnn("relu", input_shape=(1, 9, 9), channels=(6, 8))
TANH = small_cnn("tanh", input_shape=(1, 9, 9), channels=(6, 8))
POOLED = Graph.of_layers(
    input_shape=(1, 9, 9),
    layers=(
        LayerSpec(
            kind="conv",
            in_channels=1,
            out_channels=5,
            kernel=(3, 3),
            padding=(1, 1),
            activation="sigmoid",
            pool=PoolSpec(kind="max", kernel=(3, 3), stride=(3, 3), padding=(0, 0)),
        ),
        LayerSpec(kind="conv", in_channels=5, out_channels=4, kernel=(2, 2), dilation=(2, 1), activation="leaky_relu"),
        LayerSpec(kind="linear", in_channels=4, out_channels=10, kernel=(1, 2)),
    ),
)
RATES = {"sgd": 2e-2, "adam": 3e-3, "rmsprop": 1e-3}
NUM_IMAGES = 90


@pytest.fixture(scope="module")
def resident() -> ResidentImages:
    generator = np.random.default_rng(0)
    images = generator.normal(size=(NUM_IMAGES, 1, 9, 9)).astype(np.float32)
    return ResidentImages(torch.from_numpy(images), torch.from_numpy(generator.integers(10, size=NUM_IMAGES)))


def training(number: int, graph: Graph, **schedule: Any) -> Training:
    """The same in every call; no two numbers share a length, a rate, a decay."""
    draws = np.random.default_rng([number, 5])
    optimizer = ("sgd", "adam", "rmsprop")[number % 3]
    values: dict[str, Any] = {
        "optimizer": optimizer,
        "learning_rate": RATES[optimizer] * float(draws.uniform(0.5, 1.5)),
        "weight_decay": 10 ** float(draws.uniform(-4, -2)),
        "dropout": 0.0,
        "batch_size": 16,
        "epochs": 1 + number % 2,
        **schedule,
    }
    start = torch.from_numpy(initial_weights(graph, "he", 0.1, draws))
    held: dict[str, Any] = {
        "anchor": start + 0.1 * torch.from_numpy(draws.normal(size=len(start))).float(),
        "anchor_strength": 0.3,
    }
    return Training(
        graph=graph,
        start=start,
        indices=draws.permutation(NUM_IMAGES)[: 35 + 7 * number].astype(np.int32),
        schedule=Schedule(**values),
        generator=np.random.default_rng([number, 6]),
        **(held if number % 3 == 1 else {}),
    )


def alone(one: Training, resident: ResidentImages, trainer: Any) -> Floats:
    images, labels = resident.images.numpy(), resident.labels.numpy()[one.indices].astype(np.int32)
    anchor = None if one.anchor is None else Anchor(one.anchor.numpy(), one.anchor_strength)
    samples = Samples(images, images[:1], one.indices, labels)
    return train_network(trainer, one.start.numpy(), samples, one.schedule, one.generator, anchor)[0]


@pytest.mark.parametrize("trainer", [compile_chain, TorchNetwork], ids=["compiled", "torch"])
@pytest.mark.parametrize("unfolded", [False, True], ids=["grouped", "unfolded"])
def test_every_network_goes_the_way_it_goes_alone(
    unfolded: bool,
    trainer: Callable[[Graph], Any],
    resident: ResidentImages,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trainings() -> list[Training]:
        graphs = (RELU, RELU, RELU, RELU, TANH, TANH, TANH, POOLED, POOLED)
        kept = [training(number, graph) for number, graph in enumerate(graphs[:8])]
        return [*kept, training(8, POOLED, batch_size=25)]

    expected = [alone(one, resident, trainer(one.graph)) for one in trainings()]
    together = trainings()
    with monkeypatch.context() as patch:
        if unfolded:  # the way that the engine takes on a GPU
            patch.setattr("zoovet.networks.ops.linear._is_best_unfolded", lambda values: True)
        found = train_side_by_side(together, resident)
    for one, again, ours, theirs in zip(together, trainings(), found, expected, strict=True):
        moved = np.abs(theirs - one.start.numpy()).max()
        assert moved > 1e-3
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-3 * moved)
        alone(again, resident, trainer(one.graph))
        assert one.generator.integers(2**60) == again.generator.integers(2**60)


def test_nothing_to_train_is_nothing(resident: ResidentImages) -> None:
    assert train_side_by_side([], resident) == []


def test_a_network_that_diverges_leaves_the_others_alone(resident: ResidentImages) -> None:
    both = [training(0, RELU, learning_rate=1e30), training(3, RELU)]
    diverged, fine = train_side_by_side(both, resident)
    (expected,) = train_side_by_side([training(3, RELU)], resident)
    assert not bool(torch.isfinite(diverged).all())
    torch.testing.assert_close(fine, expected, atol=1e-6, rtol=0)


def test_dropout_is_each_networks_own(resident: ResidentImages) -> None:
    def ends(*dropout: float) -> list[torch.Tensor]:
        return train_side_by_side(
            [training(3, RELU, dropout=share) if share else training(3, RELU) for share in dropout], resident
        )

    dropped, kept = ends(0.3, 0.0)
    assert torch.equal(dropped, ends(0.3, 0.0)[0])
    assert float((dropped - kept).abs().max()) > 1e-4
    torch.testing.assert_close(kept, ends(0.0, 0.0)[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("graph", [mlp((81, 64, 10), "identity"), RELU], ids=["vectors", "maps"])
def test_dropout_keeps_the_gradient_on_average(graph: Graph, resident: ResidentImages) -> None:
    """One step of SGD moves networks of small logits, on average over dropout's draws, as without dropout."""
    start = 0.01 * torch.from_numpy(initial_weights(graph, "glorot", 0.1, np.random.default_rng(1)))
    images = ResidentImages(resident.images.view(-1, *graph.input_shape), resident.labels)

    def moved(dropout: float, count: int) -> torch.Tensor:
        schedule = Schedule(
            optimizer="sgd", learning_rate=1.0, weight_decay=0.0, dropout=dropout, batch_size=1, epochs=1
        )
        one: dict[str, Any] = {"graph": graph, "start": start, "indices": np.zeros(1, np.int32), "schedule": schedule}
        trainings = [Training(**one, generator=np.random.default_rng(seed)) for seed in range(count)]
        return torch.stack(train_side_by_side(trainings, images)).sub(start)

    changes, without = moved(0.4, 1500), moved(0.0, 1)[0]
    assert float(changes.std(dim=0).max()) > 0
    assert (changes.mean(dim=0) - without).abs().max() < 0.12 * without.abs().max()


def test_labels_are_the_engines_in_the_order_asked_for(resident: ResidentImages) -> None:
    graphs = [RELU, TANH, RELU]
    flats = [training(number, graph).start for number, graph in enumerate(graphs)]
    expected = [
        run(Networks.from_flat(graph, flat[None]), resident.images)[0].argmax(dim=1)
        for graph, flat in zip(graphs, flats, strict=True)
    ]
    assert torch.equal(classify_side_by_side(graphs, flats, resident.images), torch.stack(expected))


def test_an_unknown_optimizer_is_refused(resident: ResidentImages) -> None:
    with pytest.raises(ZoovetError, match="optimizer 'adamw' is unknown; did you mean 'adam'"):
        train_side_by_side([training(0, RELU, optimizer="adamw")], resident)


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("padding", [(0, 0), (2, 1)])
@pytest.mark.parametrize("dilation", [(1, 1), (1, 2)])
def test_unfolded_convolutions_are_grouped_ones(
    stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int]
) -> None:
    """With its gradients; this is how the engine convolves on a GPU."""
    attributes = {"stride": stride, "padding": (*padding, *padding), "dilation": dilation}
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 5 * 2, 9, 8), (5, 3, 2, 3, 2), (5, 3))
    given = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]
    values, weight, bias = given
    expected = functional.conv2d(values, weight.flatten(0, 1), bias.flatten(), stride, padding, dilation, groups=5)
    found = convolve_unfolded(attributes, values, weight, bias)
    torch.testing.assert_close(found, expected)
    toward = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    for ours, theirs in zip(
        torch.autograd.grad((found * toward).sum(), given),
        torch.autograd.grad((expected * toward).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
