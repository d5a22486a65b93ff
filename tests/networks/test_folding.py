from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from zoovet.networks import INPUT, Graph, Networks, fold_batch_norms, run

DrawNetworks = Callable[..., Networks]
ROLES = ("running_mean", "running_var")


def ops(networks: Networks) -> list[str]:
    return [operation.op for operation in networks.graph.operations]


def agree(networks: Networks) -> Networks:
    folded = fold_batch_norms(networks)
    images = torch.randn(
        4, *networks.graph.input_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    theirs = run(networks, images)
    assert theirs.abs().max() > 0.01
    torch.testing.assert_close(run(folded, images), theirs, rtol=1e-12, atol=1e-12)
    assert "batch_norm" not in ops(folded)
    assert not any("running" in name for name in folded.graph.shapes)
    return folded


@pytest.mark.parametrize("size", [1, 3])
def test_norms_behind_convolutions_vanish_into_them(
    size: int, residual_graph: Graph, draw_networks: DrawNetworks
) -> None:
    folded = agree(draw_networks(residual_graph, size))
    assert "channel_affine" not in ops(folded)
    assert folded.graph.shapes["conv2d0.bias"] == (8,)
    assert folded.graph.makers["relu"].inputs == ("conv2d0",)


def test_norms_that_follow_no_layer_keep_a_factor_and_an_offset(builder: Any, draw_networks: DrawNetworks) -> None:
    make = builder((3, 6, 6))
    stem = make.shaped("conv2d", INPUT, shapes={"weight": (4, 3, 3, 3)})
    full = dict.fromkeys((*ROLES, "weight", "bias"), (4,))
    normed = make.add("relu", make.shaped("batch_norm", stem, shapes=full))  # pre-activation: the stem is read twice
    body = make.shaped("conv2d", normed, shapes={"weight": (4, 4, 3, 3), "bias": (4,)}, padding=(1, 1, 1, 1))
    pooled = make.add("mean", make.add("add", stem, body), dim=(1, 2))
    folded = agree(draw_networks(make.graph(make.shaped("batch_norm", pooled, shapes=dict.fromkeys(ROLES, (4,)))), 2))
    assert ops(folded) == ["conv2d", "channel_affine", "relu", "conv2d", "add", "mean", "channel_affine"]
    assert list(folded.graph.shapes)[:1] == ["conv2d0.weight"]


def test_linear_layers_take_norms_of_vectors_only(builder: Any, draw_networks: DrawNetworks) -> None:
    make = builder((5,))
    first = make.shaped("linear", INPUT, shapes={"weight": (6, 5)})
    vector = make.shaped("batch_norm", first, shapes=dict.fromkeys(ROLES, (6,)))
    tokens = make.shaped("linear", make.add("reshape", vector, shape=(2, 3)), shapes={"weight": (4, 3)})
    folded = agree(draw_networks(make.graph(make.shaped("batch_norm", tokens, shapes=dict.fromkeys(ROLES, (2,)))), 2))
    assert ops(folded) == ["linear", "reshape", "linear", "channel_affine"]


def test_weights_and_norms_that_are_shared_stay_right(builder: Any, draw_networks: DrawNetworks) -> None:
    make = builder((5,))
    weight = {"weight": make.parameter("weight", (5, 5))}
    norm = {role: make.parameter(f"norm.{role}", (5,)) for role in (*ROLES, "weight", "bias")}
    site = INPUT
    for _ in range(2):
        site = make.add("tanh", make.add("batch_norm", make.add("linear", site, parameters=weight), parameters=norm))
    other = {role: make.parameter(f"other.{role}", (5,)) for role in ROLES}
    lone = make.shaped("linear", site, shapes={"weight": (5, 5)})
    folded = agree(draw_networks(make.graph(make.add("batch_norm", lone, parameters=other)), 2))
    assert ops(folded) == ["linear", "channel_affine", "tanh", "linear", "channel_affine", "tanh", "linear"]


def test_a_norm_of_the_answer_or_of_the_images_is_folded_right(builder: Any, draw_networks: DrawNetworks) -> None:
    make = builder((3, 4, 4))
    first = make.shaped("batch_norm", INPUT, shapes=dict.fromkeys(ROLES, (3,)))
    conv = make.shaped("conv2d", first, shapes={"weight": (2, 3, 3, 3)})
    last = make.shaped("batch_norm", conv, shapes=dict.fromkeys(ROLES, (2,)))
    assert agree(draw_networks(make.graph(last), 2)).graph.output == conv


def test_norms_after_one_another_all_vanish_where_nobody_else_reads_between(
    builder: Any, draw_networks: DrawNetworks
) -> None:
    def two(*, is_read: bool) -> Networks:
        make = builder((5,))
        first = make.shaped("linear", INPUT, shapes={"weight": (4, 5)})
        between = make.shaped("batch_norm", first, shapes=dict.fromkeys(ROLES, (4,)))
        last = make.shaped("batch_norm", between, shapes=dict.fromkeys((*ROLES, "weight", "bias"), (4,)))
        return draw_networks(make.graph(make.add("add", last, between) if is_read else last), 2)

    assert ops(agree(two(is_read=False))) == ["linear"]
    assert ops(agree(two(is_read=True))) == ["linear", "channel_affine", "add"]


def test_gradients_flow_to_what_was_folded(residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    flat = draw_networks(residual_graph, 2).flat().requires_grad_()
    images = torch.randn(3, 3, 9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    networks = Networks.from_flat(residual_graph, flat)
    ours, theirs = (
        torch.autograd.grad(run(one, images).square().sum(), flat)[0] for one in (fold_batch_norms(networks), networks)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_what_is_folded_is_rounded_once(residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    given = draw_networks(residual_graph, 2).to(dtype=torch.float32)
    folded = fold_batch_norms(given)
    exact = fold_batch_norms(given.to(dtype=torch.float64))
    for name, tensor in folded.parameters.items():
        assert torch.equal(tensor, exact.parameters[name].float()), name
