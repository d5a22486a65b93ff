"""The compiled trainer, the torch one and torch.optim agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, LayerSpec, PoolSpec, mlp, run, siren, small_cnn, to_module
from zoovet.networks.batch import Networks
from zoovet.zoo.native import NativeUnavailable, compile_chain
from zoovet.zoo.samples import Anchor, OptimizerMemory, Samples, Schedule
from zoovet.zoo.torch_network import TorchNetwork
from zoovet.zoo.training import (
    INITIALIZERS,
    initial_weights,
    network_trainer,
    train_network,
)


def conv(channels: tuple[int, int], kernel: tuple[int, int], **rest: object) -> LayerSpec:
    return LayerSpec(kind="conv", in_channels=channels[0], out_channels=channels[1], kernel=kernel, **rest)


GRAPHS = {
    "small cnn": small_cnn("relu", input_shape=(1, 14, 14)),
    "tanh": small_cnn("tanh", input_shape=(1, 9, 9), channels=(5, 20)),
    "mlp": mlp((12, 33, 7, 4), "sigmoid"),
    "pools": Graph.of_layers(
        input_shape=(3, 17, 15),
        layers=(
            conv(
                (3, 6),
                (5, 3),
                padding=(2, 1),
                activation="leaky_relu",
                pool=PoolSpec(kind="max", kernel=(3, 3), stride=(2, 2), padding=(1, 1)),
            ),
            conv(
                (6, 40),
                (3, 3),
                dilation=(2, 1),
                activation="tanh",
                pool=PoolSpec(kind="average", kernel=(2, 2), stride=(1, 1), padding=(1, 1)),
            ),
            LayerSpec(kind="linear", in_channels=40, out_channels=5, kernel=(6, 7)),
        ),
    ),
}
SCHEDULE = Schedule(optimizer="adam", learning_rate=1e-3, weight_decay=1e-3, dropout=0.0, batch_size=16, epochs=2)


def samples_for(graph: Graph, count: int = 50) -> Samples:
    generator = np.random.default_rng(0)
    images = generator.normal(size=(count, *graph.input_shape)).astype(np.float32)
    more = generator.normal(size=(5, *graph.input_shape)).astype(np.float32)
    indices = generator.permutation(count + 5).astype(np.int32)
    return Samples(images, more, indices, generator.integers(graph.num_outputs, size=count + 5).astype(np.int32))


@pytest.mark.parametrize("name", GRAPHS)
def test_logits_are_the_modules(name: str) -> None:
    graph = GRAPHS[name]
    flat = initial_weights(graph, "glorot", 0.1, np.random.default_rng(1))
    images = samples_for(graph).images
    expected = (
        to_module(Networks.from_flat(graph, torch.from_numpy(flat)[None]))(torch.from_numpy(images)).detach().numpy()
    )
    trainer = compile_chain(graph)
    np.testing.assert_array_equal(trainer.unpack(trainer.pack(flat)), flat)
    np.testing.assert_allclose(trainer.logits(trainer.pack(flat), images), expected, atol=1e-5)
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("name", GRAPHS)
def test_both_trainers_go_the_same_way(name: str, optimizer: str) -> None:
    graph = GRAPHS[name]
    schedule = Schedule(
        **{**vars(SCHEDULE), "optimizer": optimizer, "learning_rate": 1e-2 if optimizer == "sgd" else 1e-3}
    )
    start = initial_weights(graph, "he", 0.1, np.random.default_rng(1))
    ends = [
        train_network(trainer, start, samples_for(graph), schedule, np.random.default_rng(2))
        for trainer in (compile_chain(graph), TorchNetwork(graph))
    ]
    assert ends[0][1] == ends[1][1] == 8
    moved = np.abs(ends[1][0] - start).max()
    assert moved > 1e-3
    np.testing.assert_allclose(ends[0][0], ends[1][0], atol=2e-3 * moved)


@pytest.mark.parametrize("name", GRAPHS)
def test_gradients_are_autograds(name: str) -> None:
    graph, samples = GRAPHS[name], samples_for(GRAPHS[name])
    flat = torch.from_numpy(initial_weights(graph, "he", 0.1, np.random.default_rng(1))).requires_grad_()
    logits = run(Networks.from_flat(graph, flat[None]), torch.from_numpy(samples.gather(np.arange(len(samples)))))
    functional.cross_entropy(logits[0], torch.from_numpy(samples.labels).long()).backward()
    assert flat.grad is not None
    expected = flat.grad.numpy()
    for trainer in (compile_chain(graph), TorchNetwork(graph)):
        found = trainer.unpack(trainer.gradient(trainer.pack(flat.detach().numpy()), samples))
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", GRAPHS)
def test_gradients_to_images_are_autograds(name: str) -> None:
    graph, samples = GRAPHS[name], samples_for(GRAPHS[name])
    flat = initial_weights(graph, "he", 0.1, np.random.default_rng(1))
    images, labels = samples.images, samples.labels[: len(samples.images)]
    shown = torch.from_numpy(images).requires_grad_()
    logits = run(Networks.from_flat(graph, torch.from_numpy(flat)[None]), shown)[0]
    functional.cross_entropy(logits, torch.from_numpy(labels).long(), reduction="sum").backward()
    assert shown.grad is not None
    expected = shown.grad.numpy()
    for trainer in (compile_chain(graph), TorchNetwork(graph)):
        gradients, found = trainer.image_gradients(trainer.pack(flat), images, labels)
        np.testing.assert_allclose(gradients, expected, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_allclose(found, logits.detach().numpy(), atol=1e-4)


def test_what_does_not_fit_the_networks_is_refused() -> None:
    graph, samples = GRAPHS["small cnn"], samples_for(GRAPHS["small cnn"])
    trainer = compile_chain(graph)
    parameters = trainer.pack(initial_weights(graph, "he", 0.1, np.random.default_rng(1)))
    bad = {
        r"images of the shape \[1, 14, 14\], got \[1, 7, 28\]": {"images": samples.images.reshape(-1, 1, 7, 28)},
        r"indices of images must be at least 0 and below 55, got 1 to 55": {"indices": samples.indices + 1},
        r"labels must be at least 0 and below 10, got -1 to": {"labels": samples.labels - (samples.labels == 0)},
    }
    for message, change in bad.items():
        with pytest.raises(ZoovetError, match=message):
            trainer.gradient(parameters, replace(samples, **change))
        memory = OptimizerMemory.fresh(parameters)
        with pytest.raises(ZoovetError, match=message):
            trainer.train(parameters, memory, replace(samples, **change), SCHEDULE, 0)
    images, labels = samples.images, np.full(len(samples.images), 10, dtype=np.int32)
    with pytest.raises(ZoovetError, match="labels must be at least 0 and below 10, got 10 to 10"):
        trainer.image_gradients(parameters, images, labels)
    with pytest.raises(ZoovetError, match="every image needs a label, got 50 images and 3 labels"):
        trainer.image_gradients(parameters, images, labels[:3])
    with pytest.raises(ZoovetError, match=r"got \[1, 14, 7\]"):
        trainer.logits(parameters, np.ascontiguousarray(images[..., :7]))
    with pytest.raises(ValueError, match="contiguous"):
        trainer.logits(parameters, images[::2])


def test_denormal_weights_count_as_zero_and_the_callers_arithmetic_stays() -> None:
    graph, images = GRAPHS["small cnn"], samples_for(GRAPHS["small cnn"]).images
    flat = initial_weights(graph, "glorot", 0.1, np.random.default_rng(1))
    trainer, small = compile_chain(graph), np.float32(1e-39)
    silent, faint = flat.copy(), flat.copy()
    silent[:144], faint[:144] = 0, small  # the first layer's kernels
    outcomes = [trainer.logits(trainer.pack(some), images) for some in (silent, faint)]
    np.testing.assert_array_equal(*outcomes)
    parameters = trainer.pack(faint)
    trainer.train(parameters, OptimizerMemory.fresh(parameters), samples_for(graph), SCHEDULE, 0)
    trainer.gradient(parameters, samples_for(graph))
    trainer.image_gradients(parameters, images, np.zeros(len(images), dtype=np.int32))
    assert 0 < np.full(1, small) * np.float32(0.5) < small  # a processor told to flush would say 0


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1e-2, momentum=0.9, weight_decay=1e-3),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-3, weight_decay=1e-3),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=1e-3, weight_decay=1e-3),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_anchor_is_half_its_strength_times_the_squared_distance(optimizer: str) -> None:
    graph, samples = GRAPHS["small cnn"], samples_for(GRAPHS["small cnn"])
    start = initial_weights(graph, "he", 0.1, np.random.default_rng(1))
    anchor = Anchor(start + np.random.default_rng(3).normal(size=start.shape).astype(np.float32), 0.3)
    schedule = Schedule(
        **{**vars(SCHEDULE), "optimizer": optimizer, "weight_decay": 0.0, "epochs": 1, "batch_size": 64}
    )
    flat = torch.from_numpy(start.copy()).requires_grad_()
    order = np.random.default_rng(2).permutation(len(samples))
    logits = run(Networks.from_flat(graph, flat[None]), torch.from_numpy(samples.gather(order)))[0]
    distance = (flat - torch.from_numpy(anchor.flat)).square().sum()
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(samples.labels[order]).long()) + 0.15 * distance
    loss.backward()
    rates = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}
    rates[optimizer]([flat], lr=schedule.learning_rate).step()
    for trainer in (compile_chain(graph), TorchNetwork(graph)):
        end, _ = train_network(trainer, start, samples, schedule, np.random.default_rng(2), anchor)
        np.testing.assert_allclose(end, flat.detach().numpy(), atol=1e-6)
        free, _ = train_network(trainer, start, samples, schedule, np.random.default_rng(2))
        assert np.abs(free - end).max() > 1e-5


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_are_torchs(optimizer: str) -> None:
    graph, samples = GRAPHS["small cnn"], samples_for(GRAPHS["small cnn"])
    start = initial_weights(graph, "he", 0.1, np.random.default_rng(1))
    module = to_module(Networks.from_flat(graph, torch.from_numpy(start.copy())[None]))
    parameters = list(module.parameters())
    steps = OPTIMIZERS[optimizer](parameters)
    generator = np.random.default_rng(2)
    for _ in range(2):
        order = generator.permutation(len(samples))
        generator.integers(2**32)
        for first in range(0, len(order), 16):
            which = order[first : first + 16]
            labels = torch.from_numpy(samples.labels[which]).long()
            steps.zero_grad()
            nn.functional.cross_entropy(module(torch.from_numpy(samples.gather(which))), labels).backward()
            steps.step()
    expected = torch.cat([parameter.detach().flatten() for parameter in parameters]).numpy()
    schedule = Schedule(
        **{**vars(SCHEDULE), "optimizer": optimizer, "learning_rate": 1e-2 if optimizer == "sgd" else 1e-3}
    )
    for trainer in (compile_chain(graph), TorchNetwork(graph)):
        end, _ = train_network(trainer, start, samples, schedule, np.random.default_rng(2))
        np.testing.assert_allclose(end, expected, atol=2e-3 * np.abs(expected - start).max())


def test_dropout_is_drawn_from_the_seed_and_changes_the_way() -> None:
    graph = GRAPHS["small cnn"]
    start = initial_weights(graph, "he", 0.1, np.random.default_rng(1))

    def end(dropout: float, seed: int) -> np.ndarray:
        schedule = Schedule(**{**vars(SCHEDULE), "dropout": dropout})
        return train_network(compile_chain(graph), start, samples_for(graph), schedule, np.random.default_rng(seed))[0]

    np.testing.assert_array_equal(end(0.3, 2), end(0.3, 2))
    assert np.abs(end(0.3, 2) - end(0.0, 2)).max() > 1e-4


def test_dropout_keeps_the_gradient_on_average() -> None:
    """One step of SGD moves a linear-activation network, on average over dropout's draws, as without dropout."""
    graph, generator = mlp((6, 64, 3), "identity"), np.random.default_rng(0)
    start = initial_weights(graph, "glorot", 0.1, generator)
    start *= 0.01  # small logits: the softmax is linear there, and the average exact to first order
    images = generator.normal(size=(1, 6)).astype(np.float32)
    trainer, order, labels = compile_chain(graph), np.zeros(1, np.int32), np.ones(1, np.int32)

    def schedule(dropout: float) -> Schedule:
        return Schedule(optimizer="sgd", learning_rate=1.0, weight_decay=0.0, dropout=dropout, batch_size=1, epochs=1)

    def moved(dropout: float, seed: int) -> np.ndarray:
        parameters = trainer.pack(start)
        memory = OptimizerMemory.fresh(parameters)
        trainer.train(parameters, memory, Samples(images, images, order, labels), schedule(dropout), seed)
        return trainer.unpack(parameters) - start

    mean = np.mean([moved(0.4, seed) for seed in range(3000)], axis=0)
    without = moved(0.0, 0)
    assert np.abs(mean - without).max() < 0.08 * np.abs(without).max()


@pytest.mark.parametrize("init", INITIALIZERS)
def test_initial_weights_have_the_spread_they_should(init: str) -> None:
    graph = mlp((200, 300, 10))
    networks = Networks.from_flat(
        graph, torch.from_numpy(initial_weights(graph, init, 0.1, np.random.default_rng(0)))[None]
    )
    spread = {
        "glorot": (2 / 500) ** 0.5,
        "he": (2 / 200) ** 0.5,
        "orthogonal": 300**-0.5,
        "normal": 0.1,
        "truncated_normal": 0.088,
    }
    assert float(networks.weights[0].std()) == pytest.approx(spread[init], rel=0.03)
    assert all(float(bias.abs().max()) == 0 for bias in networks.biases)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ZoovetError, match="initializer 'gloro' is unknown; did you mean 'glorot'"):
        initial_weights(mlp((2, 2)), "gloro", 0.1, np.random.default_rng(0))
    schedule = Schedule(**{**vars(SCHEDULE), "optimizer": "adamw"})
    with pytest.raises(ZoovetError, match="optimizer 'adamw' is unknown; did you mean 'adam'"):
        train_network(
            TorchNetwork(mlp((2, 2))),
            np.zeros(6, np.float32),
            samples_for(mlp((2, 2))),
            schedule,
            np.random.default_rng(0),
        )


def test_without_a_compiler_torch_takes_over_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", str(tmp_path / "no-compiler"))
    graph = mlp((3, 5, 2))
    with pytest.raises(NativeUnavailable, match="no-compiler cannot be run"):
        compile_chain.__wrapped__(graph)
    compile_chain.cache_clear()
    with pytest.warns(UserWarning, match="training through torch, several times slower than compiled: the C compiler"):
        trainer = network_trainer.__wrapped__(graph)
    assert trainer == TorchNetwork(graph)
    compile_chain.cache_clear()
    schedule = Schedule(**{**vars(SCHEDULE), "dropout": 0.1})
    start = initial_weights(graph, "he", 0.1, np.random.default_rng(0))
    ends = [
        train_network(trainer, start, samples_for(graph), how, np.random.default_rng(0))[0]
        for how in (schedule, SCHEDULE)
    ]
    assert np.isfinite(ends).all()
    assert np.abs(ends[0] - ends[1]).max() > 1e-4


def test_an_activation_the_compiled_trainer_lacks() -> None:
    with pytest.raises(NativeUnavailable, match="does not know the activation 'sine'"):
        compile_chain(siren((2, 4, 1)))
