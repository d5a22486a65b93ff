"""The refit finds what the penalized loss says, respects symmetries, lets gradients through, and refuses misfits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.networks import Graph, Networks, forward_hidden, mlp, run, small_cnn
from zoovet.symmetry import random_action
from zoovet.tasks.image_pool import ImagePool
from zoovet.tasks.last_layer_refit import LastLayerRefit, RefitConfig

SHAPE = (1, 8, 8)
NUM_CLASSES = 4


def refit_of(dtype: torch.dtype = torch.float64, **options: Any) -> LastLayerRefit:
    """A refit to images that tell their class by how bright they are."""
    config = RefitConfig(**({"images_per_class": 6} | options))
    refit = LastLayerRefit(config, SHAPE, NUM_CLASSES).to(dtype)
    noise = torch.randn(NUM_CLASSES, config.images_per_class, *SHAPE, generator=torch.Generator().manual_seed(2))
    refit.give_images((0.3 * noise + torch.linspace(-0.8, 0.8, NUM_CLASSES)[:, None, None, None, None]).clamp(-1, 1))
    return refit


def networks_of(activation: str = "tanh", count: int = 3, dtype: torch.dtype = torch.float64) -> Networks:
    graph = small_cnn(activation, input_shape=SHAPE, channels=(4, 5), num_classes=NUM_CLASSES)
    flat = torch.randn(count, graph.num_parameters, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Networks.from_flat(graph, 0.5 * flat.to(dtype))


def objective(refit: LastLayerRefit, own: Networks, refitted: Networks) -> Tensor:
    """The penalized cross-entropy of each network, by its definition: [B]."""
    _, hidden = forward_hidden(own, refit.images)
    sizes = hidden[-1].square().mean(dim=1, keepdim=True).sqrt()
    logits = run(refitted, refit.images)
    labels = refit.labels.expand(logits.shape[:2])
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").reshape(labels.shape)
    weights, biases = refitted.weights[-1] - own.weights[-1], refitted.biases[-1] - own.biases[-1]
    squares = (weights * sizes).square().sum((1, 2)) + biases.square().sum(1)
    return losses.mean(1) + refit.log_penalty.exp() / 2 * squares


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_many_steps_find_the_least_penalized_loss(activation: str) -> None:
    refit, own = refit_of(num_steps=16, penalty=0.05), networks_of(activation)
    found = refit(own)
    numbers = [found.weights[-1].detach().requires_grad_(), found.biases[-1].detach().requires_grad_()]
    refitted = Networks.from_layers(own.graph, (*own.weights[:-1], numbers[0]), (*own.biases[:-1], numbers[1]))
    losses = objective(refit, own, refitted)
    slopes = torch.autograd.grad(losses.sum(), numbers)
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-8
    assert bool((losses < objective(refit, own, own) - 0.05).all())
    for layer in range(len(own.weights) - 1):
        assert torch.equal(found.weights[layer], own.weights[layer])
        assert torch.equal(found.biases[layer], own.biases[layer])


def test_two_steps_come_near_and_a_large_penalty_changes_nothing() -> None:
    own = networks_of()
    two, many = refit_of(num_steps=2), refit_of(num_steps=12)
    gained, possible = (objective(some, own, own) - objective(some, own, some(own)) for some in (two, many))
    assert bool((gained > 0.9 * possible).all())
    torch.testing.assert_close(refit_of(penalty=1e9)(own).flat(), own.flat(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_it_commutes_with_the_symmetries_of_hidden_channels(activation: str) -> None:
    refit, own = refit_of(), networks_of(activation)
    action = random_action(own.graph, len(own), torch.Generator().manual_seed(3), max_log_scale=2.0)
    torch.testing.assert_close(refit(action(own)).flat(), action(refit(own)).flat(), rtol=1e-10, atol=1e-10)


def test_a_penalty_in_the_weights_own_units_would_not_commute() -> None:
    """The control: what the check above tells apart."""

    class Raw(LastLayerRefit):
        def forward(self, networks: Networks) -> Networks:
            refitted = super().forward(networks)
            return networks + (refitted + networks.map(torch.neg)).map(torch.tanh)

    refit, own = Raw(RefitConfig(images_per_class=6), SHAPE, NUM_CLASSES).double(), networks_of("relu")
    refit.give_images(refit_of().images.reshape(NUM_CLASSES, 6, *SHAPE))
    action = random_action(own.graph, len(own), torch.Generator().manual_seed(3), max_log_scale=2.0)
    with torch.no_grad():
        assert float((refit(action(own)).flat() - action(refit(own)).flat()).abs().max()) > 1e-3


def test_gradients_flow_through_all_of_it() -> None:
    graph = mlp((64, 3, NUM_CLASSES), "tanh")
    refit = LastLayerRefit(RefitConfig(images_per_class=2), (64,), NUM_CLASSES).double()
    refit.give_images(refit_of(images_per_class=2).images.reshape(NUM_CLASSES, 2, 64))
    flat = 0.3 * torch.randn(2, graph.num_parameters, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def loss(flat: Tensor, log_penalty: Tensor) -> Tensor:
        changed = torch.func.functional_call(
            refit, {"log_penalty": log_penalty}, (Networks.from_flat(graph, flat),), strict=False
        )
        return changed.flat()[:, -20:]

    arguments = (flat.requires_grad_(), torch.tensor(-1.0, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(loss, arguments)


def test_channels_that_are_always_zero_are_left_as_they_are() -> None:
    own = networks_of("relu")
    for tensor in (own.weights[1], own.biases[1]):
        tensor[:, 2] = 0
    own = own.map(lambda tensor: tensor.requires_grad_())
    found = refit_of()(own)
    assert torch.equal(found.weights[-1][:, :, 2], own.weights[-1][:, :, 2])
    found.flat().square().sum().backward()
    assert all(bool(tensor.grad.isfinite().all()) for tensor in own.weights if tensor.grad is not None)


def test_many_networks_are_what_they_are_alone() -> None:
    own = networks_of(count=70)
    torch.testing.assert_close(refit_of()(own)[66:].flat(), refit_of()(own[66:]).flat(), rtol=1e-10, atol=1e-12)


def test_single_precision_is_enough() -> None:
    own = networks_of("relu", dtype=torch.float32)
    found, exact = refit_of(torch.float32)(own), refit_of()(own.to(dtype=torch.float64))
    torch.testing.assert_close(found.flat().double(), exact.flat(), rtol=1e-3, atol=1e-4)


def test_it_is_written_and_read() -> None:
    refit = refit_of(penalty=0.7)
    again = LastLayerRefit.from_json(refit.to_json(), SHAPE, "here").double()
    again.load_state_dict(refit.state_dict())
    assert again.config == refit.config
    assert torch.equal(again(networks_of()).flat(), refit(networks_of()).flat())
    for bad in (3, {"config": {}}, {"config": {}, "num_classes": 0}):
        with pytest.raises(ZoovetError, match="here: 'refit' should hold a configuration and num_classes"):
            LastLayerRefit.from_json(bad, SHAPE, "here")
    with pytest.raises(ZoovetError, match="here"):
        LastLayerRefit.from_json({"config": {"step": 2}, "num_classes": 4}, SHAPE, "here")


def test_a_refit_without_images_or_with_others_is_refused() -> None:
    refit = LastLayerRefit(RefitConfig(images_per_class=6), SHAPE, NUM_CLASSES)
    with pytest.raises(ZoovetError, match="refit needs images of known class, but none were given"):
        refit(networks_of(dtype=torch.float32))
    with pytest.raises(ZoovetError, match=r"refit takes 6 images of each class, \[24, 1, 8, 8\] in all, got \[4, 5, 1"):
        refit.give_images(torch.zeros(NUM_CLASSES, 5, *SHAPE))


@pytest.mark.parametrize(
    ("graph", "what"),
    [
        (mlp((64, 4), "relu"), "260 and is linear with identity"),
        (mlp((64, 120, 10), "relu"), "1210 and is linear with identity"),
    ],
)
def test_networks_without_a_small_linear_last_layer_are_refused(graph: Graph, what: str) -> None:
    with pytest.raises(ZoovetError, match=what):
        LastLayerRefit.require_fit(graph)
    LastLayerRefit.require_fit(networks_of().graph)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images_per_class": 0}, r"refit\.images_per_class must be at least 1, got 0"),
        ({"num_steps": 0}, r"refit\.num_steps must be at least 1, got 0"),
        ({"penalty": 0.0}, r"refit\.penalty must be above 0 and finite, got 0\.0"),
        ({"penalty": float("nan")}, r"refit\.penalty must be above 0 and finite, got nan"),
    ],
)
def test_configurations_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        RefitConfig(**options)


def test_a_pool_gives_images_of_each_class(images: Images) -> None:
    pool, held_out = ImagePool.split(images, 100, seed=0)
    drawn = pool.of_each_class(7, torch.Generator().manual_seed(0))
    rows = {row.numpy().tobytes(): int(label) for row, label in zip(pool.images, pool.labels, strict=True)}
    assert drawn.shape == (10, 7, *pool.images.shape[1:])
    for label in range(10):
        keys = [image.numpy().tobytes() for image in drawn[label]]
        assert len(set(keys)) == 7
        assert {rows[key] for key in keys} == {label}
    with pytest.raises(ZoovetError, match=r"500 images of each class are asked for, but there are \d+ of 0"):
        held_out.of_each_class(500, torch.Generator())
