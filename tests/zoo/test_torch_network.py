"""What compiled code does not know is trained through torch: batch norms by batches, constants left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from zoovet.networks import Graph
from zoovet.readers.exported.modules import graph_from_module
from zoovet.zoo.samples import OptimizerMemory, Samples, Schedule
from zoovet.zoo.torch_network import TorchNetwork
from zoovet.zoo.training import initial_weights, network_trainer, train_network

SCHEDULE = Schedule(optimizer="adam", learning_rate=1e-2, weight_decay=1e-3, dropout=0.0, batch_size=16, epochs=1)


def module() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.Mish(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip


def samples() -> Samples:
    generator = np.random.default_rng(0)
    images = generator.normal(size=(40, 3, 8, 8)).astype(np.float32)
    return Samples(images, images[:0], np.arange(40, dtype=np.int32), np.arange(40, dtype=np.int32) % 4)


def traced(network: nn.Module) -> tuple[Graph, np.ndarray]:
    found = graph_from_module(network, (3, 8, 8))
    return found.graph, found.flat()[0].detach().numpy().copy()


def test_a_step_is_the_modules() -> None:
    network = module()
    graph, flat = traced(network.eval())
    before, shown = flat.copy(), samples()
    images, labels = torch.from_numpy(shown.images), torch.from_numpy(shown.labels).long()
    stepper = torch.optim.Adam(network.train().parameters(), lr=1e-2, weight_decay=1e-3)
    for first in range(0, 40, 16):
        stepper.zero_grad()
        functional.cross_entropy(network(images[first : first + 16]), labels[first : first + 16]).backward()
        stepper.step()
    trainer = TorchNetwork(graph)
    trainer.train(flat, OptimizerMemory.fresh(flat), shown, SCHEDULE, 0)
    expected = network.eval()(images).detach().numpy()
    np.testing.assert_allclose(trainer.logits(flat, shown.images), expected, atol=1e-5)
    np.testing.assert_allclose(traced(network)[1], flat, atol=1e-5)
    assert np.abs(flat - before).max() > 1e-2


def test_the_note_names_what_is_unknown() -> None:
    graph, _ = traced(module().eval())
    network_trainer.cache_clear()
    with pytest.warns(UserWarning, match="through torch, several times slower than compiled: .*operation mish"):
        trainer = network_trainer(graph)
    assert isinstance(trainer, TorchNetwork)
    schedule = Schedule(**{**vars(SCHEDULE), "dropout": 0.1})
    start = initial_weights(graph, "he", 0.1, np.random.default_rng(0))
    ends = [train_network(trainer, start, samples(), how, np.random.default_rng(0))[0] for how in (schedule, SCHEDULE)]
    assert np.isfinite(ends).all()
    assert np.abs(ends[0] - ends[1]).max() > 1e-3


def test_a_graph_starts_with_norms_that_do_nothing() -> None:
    graph, _ = traced(module().eval())
    flat = initial_weights(graph, "he", 0.1, np.random.default_rng(0))
    ends = np.cumsum([one.num_numbers for one in graph.parameters])
    parts = dict(zip(graph.shapes, np.split(flat, ends), strict=False))
    norm = next(one for one in graph.operations if one.op == "batch_norm").parameters
    assert (parts[norm["weight"]] == 1).all()
    assert (parts[norm["running_var"]] == 1).all()
    assert (parts[norm["bias"]] == 0).all()
    weight = next(one for one in graph.operations if one.op == "conv2d").parameters["weight"]
    assert parts[weight].std() == pytest.approx((2 / 27) ** 0.5, rel=0.2)
