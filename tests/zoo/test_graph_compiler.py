"""The compiled trainer of graphs, autograd and torch.optim agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, GraphBuilder, small_cnn
from zoovet.zoo.native import NativeUnavailable, compile_chain, compile_graph
from zoovet.zoo.native.graph_activations import fused_norms
from zoovet.zoo.native.graph_lanes import lanes_of
from zoovet.zoo.native.graph_source import graph_source
from zoovet.zoo.samples import Anchor, Floats, OptimizerMemory, Samples, Schedule
from zoovet.zoo.training import train_network

PLAIN = Schedule(optimizer="sgd", learning_rate=1e-2, weight_decay=1e-3, dropout=0.0, batch_size=20, epochs=1)


class Draft(GraphBuilder):
    """A builder that declares an operation's parameters with it."""

    count = 0

    def weighted(self, op: str, site: str, shapes: Mapping[str, tuple[int, ...]], **attributes: Any) -> str:
        self.count += 1
        parameters = {
            role: self.parameter(f"{self.count}.{role}", shape, is_constant=role.startswith("running"))
            for role, shape in shapes.items()
        }
        return self.add(op, site, parameters=parameters, **attributes)

    def conv(self, site: str, out: int, *size: int, bias: bool = True, **attributes: Any) -> str:
        kernel = (size * 2 or (3, 3))[:2]
        channels = self.site(site).shape[0] // attributes.get("groups", 1)
        attributes.setdefault("padding", (kernel[0] // 2, kernel[1] // 2) * 2)
        shapes = {"weight": (out, channels, *kernel)} | ({"bias": (out,)} if bias else {})
        return self.weighted("conv2d", site, shapes, **attributes)

    def norm(self, site: str, *without: str) -> str:
        roles = ("weight", "bias", "running_mean", "running_var")
        channels = self.site(site).shape[0]
        return self.weighted("batch_norm", site, {role: (channels,) for role in roles if role not in without})

    def linear(self, site: str, out: int) -> str:
        return self.weighted("linear", site, {"weight": (out, self.site(site).shape[0]), "bias": (out,)})


def residual() -> Graph:
    """Residual additions with a norm in each branch, a stride, and a shortcut of 1 × 1."""
    draft = Draft((3, 10, 10))
    site = draft.add("relu", draft.norm(draft.conv("input", 8, bias=False)))
    inner = draft.add("relu", draft.norm(draft.conv(site, 8, bias=False)))
    site = draft.add("relu", draft.add("add", draft.norm(draft.conv(inner, 8)), site))
    inner = draft.add("relu", draft.norm(draft.conv(site, 12, stride=(2, 2))))
    shortcut = draft.norm(draft.conv(site, 12, 1, stride=(2, 2), bias=False))
    site = draft.add("relu", draft.add("add", draft.norm(draft.conv(inner, 12)), shortcut))
    return draft.graph(draft.linear(draft.add("mean", site, dim=(1, 2)), 5))


def mixed() -> Graph:
    """Everything else: groups, dilations, uneven padding, pools, concatenation, activations, a norm of a vector."""
    draft = Draft((3, 11, 9))
    site = draft.add("elu", draft.conv("input", 12, 5, 3, stride=(1, 2), padding=(2, 1, 1, 0)), alpha=0.7)
    site = draft.add("silu", draft.norm(draft.conv(site, 12, groups=12), "weight"))
    narrow = draft.add("gelu", draft.conv(site, 20, 2, groups=4, padding=(0, 1, 1, 0)))
    largest = draft.add("max_pool2d", narrow, kernel_size=(3, 3), stride=(2, 1), padding=(1, 1, 1, 1))
    window = {"kernel_size": (3, 3), "stride": (2, 1), "padding": (1, 1, 1, 1)}
    mean = draft.add("avg_pool2d", site, **window, count_include_pad=False)
    site = draft.add("cat", mean, largest, mean, dim=0)
    site = draft.add("tanh", draft.conv(site, 16, dilation=(2, 1), padding=(2, 1, 2, 1), bias=False))
    wide = draft.add("relu6", draft.norm(draft.conv(site, 16, groups=2), "bias"))
    site = draft.add("add", wide, site)
    site = draft.add("add", site, site)
    site = draft.add("leaky_relu", draft.conv(site, 5, stride=(2, 3)), negative_slope=-0.2)
    site = draft.add("sigmoid", draft.norm(draft.linear(draft.add("flatten", site), 17)))
    return draft.graph(draft.linear(site, 4))


def depthwise() -> Graph:
    """Depthwise convolutions of the image and with a stride, 1 × 1 ones between them, no norm."""
    draft = Draft((3, 12, 12))
    site = draft.add("relu", draft.conv("input", 3, groups=3, stride=(2, 2)))
    site = draft.conv(draft.conv(site, 24, 1), 24, groups=24, stride=(2, 2), bias=False)
    site = draft.conv(draft.add("leaky_relu", site), 16, 1, groups=2, stride=(1, 2), padding=(0, 0, 0, 0))
    site = draft.add("reshape", draft.add("adaptive_avg_pool2d", site, output_size=(1, 1)), shape=(16,))
    return draft.graph(draft.linear(site, 4))


def wide() -> Graph:
    """Channels in sixteens, which vectors of 16 are taken for: depthwise and plain convolutions, norms, a sum."""
    draft = Draft((3, 9, 8))
    site = draft.add("relu", draft.norm(draft.conv("input", 16, bias=False)))
    inner = draft.add("relu", draft.norm(draft.conv(site, 16, stride=(2, 2), groups=16, bias=False)))
    inner = draft.norm(draft.conv(inner, 48, 1, bias=False))
    site = draft.add("leaky_relu", draft.add("add", inner, draft.conv(site, 48, stride=(2, 2))), negative_slope=0.1)
    return draft.graph(draft.linear(draft.add("mean", site, dim=(1, 2)), 10))


GRAPHS = {"residual": residual, "mixed": mixed, "depthwise": depthwise, "wide": wide}


@cache
def drawn(graph: Graph) -> tuple[Floats, Samples]:
    """Weights of a network and 53 samples, some of whose images lie apart."""
    generator, parts = np.random.default_rng(0), []
    for parameter in graph.parameters:
        shape = parameter.shape
        if parameter.name.endswith("running_var"):
            numbers = generator.uniform(0.5, 2.0, shape)
        else:
            numbers = generator.normal(size=shape) * (2 / np.prod(shape[1:]) if len(shape) > 1 else 1) ** 0.5
        parts.append(numbers.ravel())
    images = generator.normal(size=(60, *graph.input_shape)).astype(np.float32)
    labels = generator.integers(graph.output_shape[0], size=53).astype(np.int32)
    order = generator.permutation(60)[:53].astype(np.int32)
    return np.concatenate(parts).astype(np.float32), Samples(images[:48], images[48:], order, labels)


def tensors(graph: Graph, flat: Floats) -> dict[str, Tensor]:
    parts = torch.from_numpy(flat.copy()).split([parameter.num_numbers for parameter in graph.parameters])
    return {
        one.name: part.clone().view(one.shape).requires_grad_(not one.is_constant)
        for one, part in zip(graph.parameters, parts, strict=True)
    }


def answers(graph: Graph, weights: Mapping[str, Tensor], images: Tensor, *, is_training: bool) -> Tensor:
    """Logits by torch's own operations; running statistics follow in place."""
    sites = {"input": images}
    for one in graph.operations:
        own = {role: weights[name] for role, name in one.parameters.items()}
        inputs = [sites[name] for name in one.inputs]
        if one.op == "batch_norm":
            sites[one.output] = functional.batch_norm(inputs[0], training=is_training, **own)
        else:
            sites[one.output] = one.kind.plain(one.attributes, inputs, own)
    return sites[graph.output]


def flattened(weights: Mapping[str, Tensor]) -> Floats:
    result: Floats = torch.cat([tensor.detach().flatten() for tensor in weights.values()]).numpy()
    return result


@pytest.mark.parametrize("name", GRAPHS)
def test_logits_and_gradients_are_autograds(name: str) -> None:
    graph = GRAPHS[name]()
    flat, samples = drawn(graph)
    trainer, weights = compile_graph(graph), tensors(graph, flat)
    images = samples.gather(np.arange(len(samples)))
    shown, labels = torch.from_numpy(images).requires_grad_(), torch.from_numpy(samples.labels).long()
    logits = answers(graph, weights, shown, is_training=False)
    functional.cross_entropy(logits, labels, reduction="sum").backward()
    gradients, own_logits = trainer.image_gradients(flat, images, samples.labels)
    np.testing.assert_allclose(own_logits, logits.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(trainer.logits(flat, images), own_logits)
    np.testing.assert_allclose(gradients, shown.grad, atol=1e-5 * float(shown.grad.abs().max()) + 1e-7)
    slopes = torch.autograd.grad(answers(graph, weights, shown, is_training=False)[:, 1].sum(), shown)[0].numpy()
    to_logits = np.zeros_like(own_logits)
    to_logits[:, 1] = 1
    np.testing.assert_allclose(trainer.image_slopes(flat, images, to_logits), slopes, atol=1e-5 * np.abs(slopes).max())
    expected = {name: torch.zeros_like(one) if one.grad is None else one.grad for name, one in weights.items()}
    mean = flattened(expected) / len(samples)
    found = trainer.gradient(flat, samples)
    np.testing.assert_allclose(found, mean, atol=1e-5 * np.abs(mean).max())
    assert min(np.abs(slopes).max(), np.abs(mean).max()) > 1e-3


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", GRAPHS)
def test_steps_are_torchs(name: str, optimizer: str) -> None:
    graph = GRAPHS[name]()
    start, samples = drawn(graph)
    schedule = replace(PLAIN, optimizer=optimizer, learning_rate=1e-2 if optimizer == "sgd" else 1e-3)
    weights = tensors(graph, start)
    trained = [tensor for tensor in weights.values() if tensor.requires_grad]
    kinds = {"sgd": lambda: torch.optim.SGD(trained, 1e-2, 0.9, weight_decay=1e-3)}
    kinds["adam"] = lambda: torch.optim.Adam(trained, 1e-3, weight_decay=1e-3)
    stepper, total = kinds[optimizer](), 0.0
    for first in range(0, len(samples), 20):
        which = np.arange(first, min(first + 20, len(samples)))
        logits = answers(graph, weights, torch.from_numpy(samples.gather(which)), is_training=True)
        loss = functional.cross_entropy(logits, torch.from_numpy(samples.labels[which]).long())
        stepper.zero_grad()
        loss.backward()
        stepper.step()
        total += float(loss.detach()) * len(which)
    own = start.copy()
    found = compile_graph(graph).train(own, OptimizerMemory.fresh(own), samples, schedule, 0)
    assert found == pytest.approx(total / len(samples), abs=1e-5)
    moved = np.linalg.norm(flattened(weights) - start)
    assert np.linalg.norm(own - flattened(weights)) < 1e-4 * moved
    assert moved > 0.01


def test_vectors_are_of_16_where_that_wastes_nothing() -> None:
    assert {name: lanes_of(make()) for name, make in GRAPHS.items()} == {
        "residual": 8,
        "mixed": 8,
        "depthwise": 8,
        "wide": 16,
    }


def test_norms_that_an_activation_alone_reads_are_one_step_with_it() -> None:
    graph = residual()
    fused = fused_norms(graph)
    readers = {name: [one.op for one in graph.operations if name in one.inputs] for name in graph.makers}
    norms = [one.output for one in graph.operations if one.op == "batch_norm"]
    assert set(fused) == {name for name in norms if readers[name] == ["relu"]}
    assert 0 < len(fused) < len(norms)
    assert all(graph.makers[made].inputs == (norm,) for norm, made in fused.items())
    assert graph_source(graph).count("norm_apply(RELU") > 0
    assert "norm_apply(RELU" not in graph_source(graph, drops=True)


def test_a_chain_goes_the_way_of_its_own_trainer() -> None:
    graph = small_cnn("relu", input_shape=(1, 9, 9), channels=(5, 8))
    generator = np.random.default_rng(3)
    start = generator.normal(size=graph.num_parameters).astype(np.float32) * 0.3
    images = generator.normal(size=(30, 1, 9, 9)).astype(np.float32)
    samples = Samples(images, images[:0], np.arange(30, dtype=np.int32), np.arange(30, dtype=np.int32) % 10)
    schedule = replace(PLAIN, epochs=2, batch_size=8)
    ends = [
        train_network(trainer, start, samples, schedule, np.random.default_rng(4))
        for trainer in (compile_graph(graph), compile_chain(graph))
    ]
    assert ends[0][1] == ends[1][1] == 8
    np.testing.assert_allclose(ends[0][0], ends[1][0], atol=1e-5)
    assert np.abs(ends[1][0] - start).max() > 1e-3


def test_a_constant_stays_and_an_anchor_pulls() -> None:
    graph = depthwise()
    first = graph.parameters[0]
    held = Graph(
        input_shape=graph.input_shape,
        parameters=(replace(first, is_constant=True), *graph.parameters[1:]),
        operations=graph.operations,
        output=graph.output,
    )
    start, samples = drawn(graph)
    free, pulled = start.copy(), start.copy()
    trainer = compile_graph(held)
    trainer.train(free, OptimizerMemory.fresh(free), samples, PLAIN, 0)
    trainer.train(pulled, OptimizerMemory.fresh(pulled), samples, PLAIN, 0, Anchor(start, 10.0))
    np.testing.assert_array_equal(free[: first.num_numbers], start[: first.num_numbers])
    assert 0 < np.linalg.norm(pulled - start) < 0.95 * np.linalg.norm(free - start)


def unknown(kind: str) -> Graph:
    draft = Draft((3, 8, 8))
    if kind == "mish":
        site = draft.add("mish", draft.conv("input", 4))
    elif kind == "dilation":
        site = draft.conv("input", 4, stride=(2, 2), dilation=(2, 2), padding=(2, 2, 2, 2))
    elif kind == "broadcasts":
        site = draft.conv("input", 4)
        site = draft.add("add", site, draft.add("mean", site, dim=(1, 2), keepdim=True))
    elif kind == "ceil_mode":
        site = draft.add("max_pool2d", draft.conv("input", 4), kernel_size=(2, 2), stride=(3, 3), ceil_mode=True)
    else:
        site = draft.add("permute", draft.conv("input", 4), dims=(1, 2, 0))
    return draft.graph(draft.linear(draft.add("flatten", site), 3))


@pytest.mark.parametrize("kind", ["mish", "dilation", "broadcasts", "ceil_mode", "permute"])
def test_what_the_compiled_code_lacks_is_named(kind: str) -> None:
    with pytest.raises(NativeUnavailable, match=kind):
        graph_source(unknown(kind))


def test_samples_must_fit() -> None:
    graph = depthwise()
    flat, samples = drawn(graph)
    wrong = replace(samples, labels=np.full_like(samples.labels, 4))
    with pytest.raises(ZoovetError, match="labels must be at least 0 and below 4"):
        compile_graph(graph).train(flat.copy(), OptimizerMemory.fresh(flat), wrong, PLAIN, 0)
    with pytest.raises(ZoovetError, match=r"read images of the shape \[3, 12, 12\]"):
        compile_graph(graph).logits(flat, samples.images[:, :, 1:])
