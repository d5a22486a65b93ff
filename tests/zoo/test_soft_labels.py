"""Mixed and smoothed labels, and dropout of any graph: every trainer against autograd."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, GraphBuilder, small_cnn
from zoovet.zoo.native import compile_chain, compile_graph
from zoovet.zoo.native.graph_lanes import lanes_of, padded
from zoovet.zoo.native.graph_plan import site_places
from zoovet.zoo.samples import Floats, OptimizerMemory, Samples, Schedule, SoftLabels
from zoovet.zoo.torch_network import TorchNetwork
from zoovet.zoo.training import NetworkTrainer, initial_weights

STEP = Schedule(optimizer="sgd", learning_rate=0.1, weight_decay=0.0, dropout=0.0, batch_size=12, epochs=1)
ACTIVATIONS = ("relu6", "tanh", "elu", "silu", "leaky_relu", "sigmoid")


def chain() -> Graph:
    return small_cnn("relu", input_shape=(1, 7, 7), channels=(5, 8), num_classes=6)


def branched() -> Graph:
    """Activations of all sorts, one read by two others and one behind a norm."""
    builder = GraphBuilder((2, 5, 6))

    def conv(site: str, name: str) -> str:
        weight = builder.parameter(f"{name}.weight", (9, builder.site(site).shape[0], 3, 3))
        return builder.add("conv2d", site, parameters={"weight": weight}, padding=(1, 1, 1, 1))

    site = "input"
    for number, activation in enumerate(ACTIVATIONS):
        new = builder.add(activation, conv(site, f"conv{number}"), name=activation)
        site = new if site == "input" else builder.add("add", new, site)
    roles = {role: builder.parameter(f"norm.{role}", (9,)) for role in ("weight", "bias")}
    for role in ("running_mean", "running_var"):
        roles[role] = builder.parameter(f"norm.{role}", (9,), is_constant=True)
    site = builder.add("relu", builder.add("batch_norm", site, parameters=roles), name="behind")
    site = builder.add("max_pool2d", site, kernel_size=(2, 2), stride=(2, 2))
    site = builder.add("flatten", site)
    weight = builder.parameter("last.weight", (6, builder.site(site).shape[0]))
    return builder.graph(builder.add("linear", site, parameters={"weight": weight}))


def drawn(graph: Graph) -> tuple[Floats, Samples]:
    generator = np.random.default_rng(0)
    images = (3 * generator.normal(size=(12, *graph.input_shape))).astype(np.float32)
    labels, seconds = generator.integers(6, size=(2, 12)).astype(np.int32)
    soft = SoftLabels(seconds, generator.uniform(0, 0.5, 12).astype(np.float32), smoothing=0.1)
    samples = Samples(images, images[:0], np.arange(12, dtype=np.int32), labels, soft)
    return initial_weights(graph, "he", 0.1, generator), samples


def one_step(trainer: NetworkTrainer, flat: Floats, samples: Samples, schedule: Schedule) -> tuple[Floats, float]:
    """How far a step moves the weights, divided by the rate: the gradient; and the loss."""
    parameters = trainer.pack(flat)
    loss = trainer.train(parameters, OptimizerMemory.fresh(parameters), samples, schedule, 77)
    return (flat - trainer.unpack(parameters)) / schedule.learning_rate, loss


@pytest.mark.parametrize("name", ["chain", "graph", "torch"])
def test_a_step_on_soft_labels_is_autograds(name: str) -> None:
    graph = chain()
    trainer = {"chain": compile_chain, "graph": compile_graph, "torch": TorchNetwork}[name](graph)
    flat, samples = drawn(graph)
    assert samples.soft is not None
    weights = torch.from_numpy(flat.copy()).requires_grad_()
    logits = as_trained(graph, weights, torch.from_numpy(samples.images), {})
    each = functional.log_softmax(logits, dim=1)
    share, labels, seconds = (
        torch.from_numpy(part) for part in (samples.soft.shares, samples.labels, samples.soft.seconds)
    )
    rows = torch.arange(12)
    mixed = (1 - share) * each[rows, labels.long()] + share * each[rows, seconds.long()]
    loss = -(0.9 * mixed + 0.1 * each.mean(dim=1)).mean()
    loss.backward()
    found, found_loss = one_step(trainer, flat, samples, STEP)
    assert found_loss == pytest.approx(float(loss.detach()), abs=1e-5)
    np.testing.assert_allclose(found, weights.grad, atol=2e-5)
    hard, _ = one_step(trainer, flat, replace(samples, soft=None), STEP)
    assert np.abs(hard - found).max() > 1e-2


def as_trained(graph: Graph, flat: Tensor, images: Tensor, masks: dict[str, Tensor]) -> Tensor:
    """Logits by torch's own operations, norms by the batch's statistics; what the masks say is multiplied by them."""
    ends = np.cumsum([one.num_numbers for one in graph.parameters])[:-1]
    parts = zip(graph.parameters, flat.tensor_split(torch.from_numpy(ends)), strict=True)
    weights = {one.name: part.reshape(one.shape) for one, part in parts}
    sites = {"input": images}
    for one in graph.operations:
        own = {role: weights[name] for role, name in one.parameters.items()}
        if one.op == "batch_norm":
            values = functional.batch_norm(sites[one.inputs[0]], None, None, own["weight"], own["bias"], training=True)
        else:
            values = one.kind.plain(one.attributes, [sites[name] for name in one.inputs], own)
        sites[one.output] = values * masks[one.output] if one.output in masks else values
    return sites[graph.output]


def bits_of(seed: int, sample: int, site: int, count: int) -> NDArray[np.uint32]:
    """The trainer's random numbers of one site of one image, written down a second time."""

    def mix(z: NDArray[np.uint32]) -> NDArray[np.uint32]:
        z = (z ^ (z >> 16)) * np.uint32(0x85EBCA6B)
        z = (z ^ (z >> 13)) * np.uint32(0xC2B2AE35)
        return z ^ (z >> 16)

    start = (seed + 0x9E3779B9 * (sample + 1) + 0x7F4A7C15 * (site + 1)) % 2**32
    key = mix(np.array([start], dtype=np.uint32))
    return mix(np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9) + key)


def test_dropout_of_a_graph_drops_the_same_numbers_both_ways() -> None:
    graph = branched()
    flat, samples = drawn(graph)
    places, share, masks = site_places(graph), 0.3, dict[str, Tensor]()
    for name in (*ACTIVATIONS, "behind"):
        channels, height, width = graph.sites[name].shape
        whole = padded(channels, lanes_of(graph))
        bits = np.stack([bits_of(77, n, places[name].number, height * width * whole) for n in range(12)])
        kept = bits.reshape(12, height, width, whole)[..., :channels] < (1 - share) * 4294967040
        masks[name] = torch.from_numpy(kept.transpose(0, 3, 1, 2) / np.float32(1 - share)).float()
    weights = torch.from_numpy(flat.copy()).requires_grad_()
    logits = as_trained(graph, weights, torch.from_numpy(samples.images), masks)
    loss = functional.cross_entropy(logits, torch.from_numpy(samples.labels).long())
    (expected,) = torch.autograd.grad(loss, weights)
    hard = replace(samples, soft=None)
    found, found_loss = one_step(compile_graph(graph), flat, hard, replace(STEP, dropout=share))
    is_statistic = np.concatenate([np.full(one.num_numbers, one.is_constant, dtype=bool) for one in graph.parameters])
    assert found_loss == pytest.approx(float(loss.detach()), abs=1e-4)
    np.testing.assert_allclose(found[~is_statistic], expected[~is_statistic], atol=1e-4)
    without, _ = one_step(compile_graph(graph), flat, hard, STEP)
    assert np.abs(without - found)[~is_statistic].max() > 0.05
    whole = float(torch.stack([(mask > 0).double().mean() for mask in masks.values()]).mean())
    assert whole == pytest.approx(0.7, abs=0.02)


def test_dropout_through_torch_follows_from_its_seed_and_drops_its_share() -> None:
    graph = branched()
    flat, samples = drawn(graph)
    trainer = TorchNetwork(graph)
    dropping = replace(STEP, dropout=0.5)
    first, second = (one_step(trainer, flat, samples, dropping)[0] for _ in range(2))
    assert np.array_equal(first, second)
    without, _ = one_step(trainer, flat, samples, STEP)
    assert np.abs(first - without).max() > 1e-2
    barely, _ = one_step(trainer, flat, samples, replace(STEP, dropout=1e-9))
    np.testing.assert_allclose(barely, without, atol=1e-6)


def test_second_labels_must_be_classes() -> None:
    flat, samples = drawn(chain())
    assert samples.soft is not None
    wrong = replace(samples, soft=replace(samples.soft, seconds=np.full(12, 6, np.int32)))
    for trainer in (compile_chain(chain()), compile_graph(chain()), TorchNetwork(chain())):
        with pytest.raises(ZoovetError, match="second labels must be at least 0 and below 6, got 6 to 6"):
            one_step(trainer, flat, wrong, STEP)
