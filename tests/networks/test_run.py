from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from zoovet.errors import ZoovetError
from zoovet.networks import (
    INPUT,
    Graph,
    Networks,
    mlp,
    run,
    siren,
    small_cnn,
    values_at,
)
from zoovet.symmetry.random_networks import random_networks

DrawNetworks = Callable[..., Networks]


def draw_images(graph: Graph, *sizes: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*sizes, *graph.input_shape, generator=torch.Generator().manual_seed(9), dtype=dtype)


def assert_near(ours: Tensor, theirs: Tensor, tolerance: float = 1e-12) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance * max(1e-3, float(theirs.detach().abs().max()))


def by_hand(networks: Networks, images: Tensor) -> Tensor:
    """The residual graph of the tests, written with torch's functions; one network."""
    get = {name: tensor[0] for name, tensor in networks.parameters.items()}

    def norm(values: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            get[f"{name}.{role}"].view(-1, 1, 1) for role in ("running_mean", "running_var", "weight", "bias")
        )
        return (values - mean) / (var + 1e-5).sqrt() * weight + bias

    stem = functional.relu(norm(functional.conv2d(images, get["conv2d0.weight"], padding=1), "batch_norm1"))
    body = functional.conv2d(functional.pad(stem, (0, 1, 0, 1)), get["conv2d3.weight"], stride=2)
    body = functional.relu(norm(body, "batch_norm4"))
    depth = functional.conv2d(body, get["conv2d6.weight"], get["conv2d6.bias"], padding=1, groups=16)
    pooled = functional.avg_pool2d(stem, 2, 2, ceil_mode=True, count_include_pad=False)[:, :, :4, :4]
    total = depth + functional.conv2d(pooled, get["conv2d10.weight"], get["conv2d10.bias"])
    squeezed = functional.adaptive_avg_pool2d(total, 1)
    gate = torch.sigmoid(functional.conv2d(squeezed, get["conv2d13.weight"], get["conv2d13.bias"]))
    features = torch.cat([total * gate, body], 1).mean((2, 3))
    return functional.linear(features, get["linear18.weight"], get["linear18.bias"])


@pytest.mark.parametrize("size", [1, 3])
def test_agrees_with_torch_written_by_hand(size: int, residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    networks = draw_networks(residual_graph, size)
    shared, own = draw_images(residual_graph, 4), draw_images(residual_graph, size, 4)
    assert_near(run(networks, shared), torch.stack([by_hand(one, shared) for one in networks]))
    assert_near(run(networks, own), torch.stack([by_hand(one, own[index]) for index, one in enumerate(networks)]))


@pytest.mark.parametrize("own", [False, True])
def test_gradients_agree_with_torch_written_by_hand(
    own: bool, residual_graph: Graph, draw_networks: DrawNetworks
) -> None:
    flat = draw_networks(residual_graph, 3).flat().requires_grad_()
    networks = Networks.from_flat(residual_graph, flat)
    images = draw_images(residual_graph, *((3,) if own else ()), 4).requires_grad_()
    alone = [by_hand(one, images[index] if own else images) for index, one in enumerate(networks)]
    gradients = []
    for logits in (run(networks, images), torch.stack(alone)):
        target = torch.randn(logits.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        gradients.append(torch.autograd.grad((logits * target).sum(), (flat, images), retain_graph=True))
    for ours, theirs in zip(*gradients, strict=True):
        assert_near(ours, theirs, 1e-11)


@pytest.mark.parametrize("size", [1, 2])
def test_values_at_sites_are_what_the_sites_hold(size: int, residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    networks, images = draw_networks(residual_graph, size), draw_images(residual_graph, 4)
    before = images.clone(), networks.flat().clone()
    names = [*residual_graph.sites]
    values = values_at(networks, images, names)
    assert list(values) == names
    for name, site in residual_graph.sites.items():
        assert values[name].shape == (size, 4, *site.shape)
    assert torch.equal(values[INPUT][0], images)
    assert torch.equal(values[residual_graph.output], run(networks, images))
    assert (values["conv2d0"] < 0).any()
    assert (values["relu"] >= 0).all()
    assert_near(values["relu"], values["batch_norm1"].relu())
    assert torch.equal(images, before[0])
    assert torch.equal(networks.flat(), before[1])


def test_a_site_before_a_sine_holds_what_the_layer_makes() -> None:
    networks = random_networks(siren(w0=7.0), 2, torch.Generator().manual_seed(1))
    images = draw_images(networks.graph, 4)
    values = values_at(networks, images, ["layers.0", "layers.0.sine"])
    assert_near(values["layers.0.sine"], (7 * values["layers.0"]).sin())
    assert_near(values_at(networks, images, ["layers.0.sine"])["layers.0.sine"], values["layers.0.sine"])


@pytest.mark.parametrize("op", ["mean", "sum", "amax"])
@pytest.mark.parametrize("dim", [(1, 2), (2,), (0,), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("keepdim", [False, True])
def test_maps_of_several_networks_are_reduced_as_each_alone(
    op: str, dim: tuple[int, ...], keepdim: bool, builder: Callable[..., Any], draw_networks: DrawNetworks
) -> None:
    make = builder((2, 5, 4))
    maps = make.shaped("conv2d", INPUT, shapes={"weight": (3, 2, 3, 3), "bias": (3,)})
    graph = make.graph(make.add(op, maps, dim=dim, keepdim=keepdim))
    networks, images = draw_networks(graph, 4), draw_images(graph, 3)
    assert_near(run(networks, images), torch.cat([run(one, images) for one in networks]))


def test_only_what_a_site_needs_is_run(residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    networks = draw_networks(residual_graph, 2)
    broken = networks.map(torch.clone)
    broken.parameters["linear18.weight"].fill_(torch.nan)
    images = draw_images(residual_graph, 3)
    (ours,) = values_at(broken, images, ["conv2d3"]).values()
    assert torch.equal(ours, values_at(networks, images, ["conv2d3"])["conv2d3"])


def test_tiles_of_networks_and_images_change_nothing(
    monkeypatch: pytest.MonkeyPatch, residual_graph: Graph, draw_networks: DrawNetworks
) -> None:
    networks = draw_networks(residual_graph, 5)
    for images in (draw_images(residual_graph, 7), draw_images(residual_graph, 5, 7)):
        whole = run(networks, images)
        assert_near(run(networks, images, chunk_size=3), whole)
        with monkeypatch.context() as patch:
            patch.setitem(run.__globals__, "_TILE_BYTES", 6 * 8 * 9 * 9 * 8)  # 6 pairs of network and image
            patch.setitem(run.__globals__, "_TILE_IMAGES", 3)
            patch.setattr(Graph, "num_parameters", 1)
            assert_near(run(networks, images), whole)


def test_images_are_dealt_to_tiles_of_about_one_size(
    monkeypatch: pytest.MonkeyPatch, residual_graph: Graph, draw_networks: DrawNetworks
) -> None:
    networks, sizes = draw_networks(residual_graph, 1), list[int]()

    def reduce(values: Tensor) -> Tensor:
        sizes.append(values.shape[1])
        return values

    monkeypatch.setitem(run.__globals__, "_TILE_IMAGES", 5)
    values_at(networks, draw_images(residual_graph, 11), [residual_graph.output], reduce=reduce)
    assert sizes == [4, 4, 3]


class LivingBytes(TorchDispatchMode):
    """Remembers the largest tensor that any operation makes, and how much conv and pooling made in all."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.largest = max(self.largest, result.untyped_storage().nbytes())
        return result


def test_memory_without_gradients_does_not_grow_with_the_images(draw_networks: DrawNetworks) -> None:
    graph = (random_networks(small_cnn(channels=(4,)), 1, torch.Generator().manual_seed(0))).graph
    networks = draw_networks(graph, 20, dtype=torch.float32)
    images = torch.zeros(1000, 1, 28, 28)
    with torch.no_grad(), LivingBytes() as living:
        run(networks, images)
    assert living.largest <= max(2 * 2**20, images.nbytes)


def test_sites_are_freed_once_read(builder: Any, draw_networks: DrawNetworks) -> None:
    make = builder((64,))
    site = INPUT
    for _ in range(30):
        site = make.shaped("linear", site, shapes={"weight": (64, 64)})
    graph = make.graph(site)
    networks, images = draw_networks(graph, 1, dtype=torch.float32), torch.zeros(1000, 64)
    alive: list[Any] = []

    class Counting(TorchDispatchMode):
        most = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor) and result.numel() == 64_000:
                alive.append(weakref.ref(result))
                Counting.most = max(Counting.most, sum(one() is not None for one in alive))
            return result

    with torch.no_grad(), Counting():
        run(networks, images, chunk_size=1000)
    assert Counting.most <= 10


@pytest.mark.parametrize("size", [1, 2])
def test_no_images_give_no_answers(size: int, residual_graph: Graph, draw_networks: DrawNetworks) -> None:
    networks = draw_networks(residual_graph, size)
    assert run(networks, draw_images(residual_graph, 0)).shape == (size, 0, 5)
    assert run(networks, draw_images(residual_graph, size, 0)).shape == (size, 0, 5)


def test_an_answer_that_reads_no_image_is_given_for_each(builder: Any, draw_networks: DrawNetworks) -> None:
    make = builder((3,))
    graph = make.graph(make.add("relu", make.shaped("parameter", shapes={"value": (4,)})))
    for size in (1, 2):
        networks = draw_networks(graph, size)
        (value,) = networks.parameters.values()
        assert torch.equal(run(networks, draw_images(graph, 5)), value.relu().unsqueeze(1).expand(size, 5, 4))


def test_a_graph_of_a_thousand_operations_is_read_and_run_in_no_time(builder: Any, draw_networks: DrawNetworks) -> None:
    make = builder((4,))
    site = INPUT
    for _ in range(1500):
        site = make.add("add", make.shaped("linear", site, shapes={"weight": (4, 4)}), site)
        site = make.add("tanh", site)
    graph = Graph.from_json(json.loads(json.dumps(make.graph(site).to_json())))
    networks = draw_networks(graph, 1)
    run(networks, draw_images(graph, 2))
    assert len(graph.operations) == 4500


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (4, 1, 27, 28),
            r"\[N, 1, 28, 28\], or \[3, N, 1, 28, 28\] where each network has its own, got \[4, 1, 27, 28",
        ),
        ((2, 4, 1, 28, 28), r"got \[2, 4, 1, 28, 28\]$"),
        ((784,), r"got \[784\]$"),
    ],
)
def test_images_of_another_shape_are_refused(shape: tuple[int, ...], message: str) -> None:
    networks = random_networks(small_cnn(), 3, torch.Generator())
    with pytest.raises(ZoovetError, match=message):
        run(networks, torch.zeros(shape, dtype=torch.float64))


def test_other_unfit_input_is_refused() -> None:
    graph: Graph = mlp((4, 3))
    networks = random_networks(graph, 2, torch.Generator())
    with pytest.raises(ZoovetError, match=r"images are torch\.float32 and the networks torch\.float64"):
        run(networks, torch.zeros(1, 4))
    with pytest.raises(ZoovetError, match="images are on meta and the networks on cpu"):
        run(networks, torch.zeros(1, 4, dtype=torch.float64, device="meta"))
    with pytest.raises(ZoovetError, match="chunk_size must be at least 1, got 0"):
        run(networks, torch.zeros(1, 4, dtype=torch.float64), chunk_size=0)
    with pytest.raises(ZoovetError, match="the batch of networks is empty"):
        run(networks[0:0], torch.zeros(1, 4, dtype=torch.float64))
    with pytest.raises(ZoovetError, match=r"no site 'layers\.1'; did you mean 'layers\.0'"):
        values_at(networks, torch.zeros(1, 4, dtype=torch.float64), ["layers.1"])
