from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from zoovet.errors import ZoovetError
from zoovet.networks import (
    ACTIVATIONS,
    Graph,
    LayerSpec,
    Networks,
    PoolSpec,
    forward_features,
    forward_hidden,
    forward_means,
    mlp,
    run,
    siren,
    small_cnn,
    to_module,
)

MakeNetworks = Callable[..., Networks]
Slow = Callable[[Networks, Tensor], list[Tensor]]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def draw_images(graph: Graph, *sizes: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*sizes, *graph.input_shape, generator=torch.Generator().manual_seed(9), dtype=dtype)


def assert_near(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= TOLERANCE[ours.dtype] * max(1.0, float(theirs.detach().abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(40))
def test_agrees_with_one_network_at_a_time(
    seed: int, dtype: torch.dtype, spec_of_seed: Callable[[int], Graph], networks_of: MakeNetworks, slow: Slow
) -> None:
    graph = spec_of_seed(seed)
    networks = networks_of(graph, 3, dtype=dtype, seed=seed)
    for images in (draw_images(graph, 4, dtype=dtype), draw_images(graph, 3, 4, dtype=dtype)):
        layers = slow(networks, images)
        logits, hidden = forward_hidden(networks, images)
        assert_near(run(networks, images), layers[-1])
        assert_near(logits, layers[-1])
        assert len(hidden) == len(graph.chain.layers) - 1
        for ours, theirs in zip(hidden, layers[:-1], strict=True):
            assert_near(ours, theirs)
        means = torch.cat([values.flatten(3).mean(3) if values.ndim > 3 else values for values in layers], dim=2)
        assert_near(forward_means(networks, images), means)
        if len(layers) > 1:
            logits, features = forward_features(networks, images)
            assert_near(logits, layers[-1])
            assert_near(features, layers[-2].flatten(2))


def test_the_random_specs_hold_everything_a_spec_can_say(spec_of_seed: Callable[[int], Graph]) -> None:
    layers = [layer for seed in range(40) for layer in spec_of_seed(seed).chain.layers]
    assert {layer.activation for layer in layers} == set(ACTIVATIONS)
    assert {layer.pool.kind for layer in layers if layer.pool} == {"average", "max", "global"}
    assert {size for layer in layers if layer.kind == "conv" for size in layer.kernel} == {1, 3, 5}
    assert any(layer.kind == "linear" and layer.kernel for layer in layers)
    assert any(layer.dilation != (1, 1) for layer in layers)
    assert any(layer.padding[0] != layer.padding[1] for layer in layers)
    assert any(layer.stride[0] != layer.stride[1] for layer in layers)
    assert {len(spec_of_seed(seed).chain.layers) for seed in range(40)} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "graph", [small_cnn(), small_cnn("tanh", input_shape=(3, 32, 32)), mlp((784, 10, 10)), siren()]
)
def test_agrees_with_modules(graph: Graph, dtype: torch.dtype, networks_of: MakeNetworks) -> None:
    networks = networks_of(graph, 4, dtype=dtype)
    images = draw_images(graph, 5, dtype=dtype)
    expected = torch.stack([to_module(network)(images) for network in networks])
    assert_near(run(networks, images), expected)


@pytest.mark.parametrize("seed", range(0, 40, 2))
@pytest.mark.parametrize("own", [False, True])
def test_gradients_agree_with_one_network_at_a_time(
    seed: int, own: bool, spec_of_seed: Callable[[int], Graph], networks_of: MakeNetworks, slow: Slow
) -> None:
    graph = spec_of_seed(seed)
    flat = networks_of(graph, 3, seed=seed).flat().requires_grad_()
    images = draw_images(graph, *((3,) if own else ()), 4).requires_grad_()
    gradients = []
    for logits in (
        run(Networks.from_flat(graph, flat), images),
        slow(Networks.from_flat(graph, flat), images)[-1],
    ):
        target = torch.randn(logits.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        gradients.append(torch.autograd.grad((logits * target).sum(), (flat, images)))
    for ours, theirs in zip(*gradients, strict=True):
        assert_near(ours, theirs)


def test_gradients_agree_with_differences(networks_of: MakeNetworks) -> None:
    graph = Graph.of_layers(
        input_shape=(2, 5, 5),
        layers=(
            LayerSpec(kind="conv", in_channels=2, out_channels=3, kernel=(3, 3), padding=(1, 1), activation="silu"),
            LayerSpec(kind="linear", in_channels=3, out_channels=2, kernel=(5, 5)),
        ),
    )
    flat = networks_of(graph, 2).flat().requires_grad_()
    images = draw_images(graph, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, x: run(Networks.from_flat(graph, f), x), (flat, images))


def test_tiles_of_networks_and_images_change_nothing(
    monkeypatch: pytest.MonkeyPatch, networks_of: MakeNetworks
) -> None:
    graph = small_cnn(channels=(8, 8), input_shape=(1, 8, 8))
    flat = networks_of(graph, 5).flat().requires_grad_()
    for images in (draw_images(graph, 7), draw_images(graph, 5, 7)):
        images.requires_grad_()
        whole = run(Networks.from_flat(graph, flat), images)
        expected = torch.autograd.grad(whole.square().sum(), (flat, images))
        with monkeypatch.context() as patch:
            patch.setitem(run.__globals__, "_TILE_BYTES", 6 * 8 * 8 * 4 * 4)  # 6 pairs of network and image
            patch.setitem(run.__globals__, "_TILE_IMAGES", 3)
            tiled = run(Networks.from_flat(graph, flat), images)
            gradients = torch.autograd.grad(tiled.square().sum(), (flat, images))
        torch.testing.assert_close(tiled, whole, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradients, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chunk_size", [1, 3, 7, 100])
def test_chunk_size_changes_nothing(chunk_size: int, networks_of: MakeNetworks) -> None:
    graph = small_cnn(channels=(4,), input_shape=(1, 8, 8))
    networks, images = networks_of(graph, 2), draw_images(graph, 7)
    chunked = run(networks, images, chunk_size=chunk_size)
    torch.testing.assert_close(chunked, run(networks, images), rtol=1e-12, atol=1e-12)


def test_a_batch_gives_what_each_network_gives(networks_of: MakeNetworks) -> None:
    graph = small_cnn(channels=(8, 16))
    networks, images = networks_of(graph, 6, dtype=torch.float32), draw_images(graph, 3, dtype=torch.float32)
    each = torch.cat([run(network, images) for network in networks])
    assert_near(run(networks, images), each)


class LargestTensor(TorchDispatchMode):
    """Remembers the bytes of the largest tensor that any operation makes."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.bytes = max(self.bytes, result.untyped_storage().nbytes())
        return result


def test_memory_without_gradients_does_not_grow_with_the_images(networks_of: MakeNetworks) -> None:
    graph = small_cnn(channels=(4,), input_shape=(1, 16, 16))
    networks, images = networks_of(graph, 20, dtype=torch.float32), draw_images(graph, 2000, dtype=torch.float32)
    with torch.no_grad(), LargestTensor() as largest:
        run(networks, images)
    whole = 20 * 2000 * 4 * 8 * 8 * 4
    assert largest.bytes <= max(2 * 2**20, images.nbytes) < whole / 10


def test_dead_units_have_zero_gradients_not_nan() -> None:
    graph = small_cnn(channels=(8,), input_shape=(1, 8, 8))
    flat = torch.zeros(2, graph.num_parameters, dtype=torch.float64, requires_grad=True)
    run(Networks.from_flat(graph, flat), draw_images(graph, 3)).sum().backward()
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()
    assert (flat.grad[:, : 8 * 10] == 0).all()
    assert (flat.grad[:, -10:] == 3).all()


def test_inputs_are_not_changed(networks_of: MakeNetworks) -> None:
    graph = Graph.of_layers(
        input_shape=(2, 6, 6),
        layers=(
            LayerSpec(
                kind="conv",
                in_channels=2,
                out_channels=8,
                kernel=(1, 1),
                pool=PoolSpec(kind="max", kernel=(1, 1), stride=(1, 1)),
            ),
            LayerSpec(
                kind="conv",
                in_channels=8,
                out_channels=8,
                kernel=(3, 3),
                activation="relu",
                pool=PoolSpec(kind="global"),
            ),
            LayerSpec(kind="linear", in_channels=8, out_channels=3, activation="tanh"),
        ),
    )
    networks, images = networks_of(graph, 2), draw_images(graph, 3)
    before, images_before = networks.flat().clone(), images.clone()
    _, hidden = forward_hidden(networks, images)
    first = hidden[0].clone()
    run(networks, images)
    assert torch.equal(networks.flat(), before)
    assert torch.equal(images, images_before)
    assert torch.equal(hidden[0], first)


def test_a_last_map_stays_a_map(networks_of: MakeNetworks, slow: Slow) -> None:
    layer = LayerSpec(kind="conv", in_channels=1, out_channels=3, kernel=(3, 3))
    graph = Graph.of_layers(input_shape=(1, 6, 7), layers=(layer,))
    networks, images = networks_of(graph, 2), draw_images(graph, 5)
    assert run(networks, images).shape == (2, 5, 3, 4, 5)
    assert_near(run(networks, images), slow(networks, images)[-1])


@pytest.mark.parametrize("graph", [small_cnn(), mlp((4, 3, 2)), mlp((3, 2))])
def test_no_images_give_no_logits(graph: Graph, networks_of: MakeNetworks) -> None:
    networks = networks_of(graph, 2)
    assert run(networks, draw_images(graph, 0)).shape == (2, 0, graph.num_outputs)
    assert run(networks, draw_images(graph, 2, 0)).shape == (2, 0, graph.num_outputs)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (4, 1, 27, 28),
            r"\[N, 1, 28, 28\], or \[3, N, 1, 28, 28\] where each network has its own, got \[4, 1, 27, 28\]",
        ),
        ((1, 28, 28), r"got \[1, 28, 28\]$"),
        ((2, 4, 1, 28, 28), r"got \[2, 4, 1, 28, 28\]$"),
        ((784,), r"got \[784\]$"),
    ],
)
def test_images_of_another_shape_are_refused(shape: tuple[int, ...], message: str, networks_of: MakeNetworks) -> None:
    with pytest.raises(ZoovetError, match=message):
        run(networks_of(small_cnn(), 3), torch.zeros(shape, dtype=torch.float64))


def test_other_unfit_input_is_refused(networks_of: MakeNetworks) -> None:
    networks = networks_of(mlp((4, 3)), 2)
    with pytest.raises(ZoovetError, match=r"images are torch\.float32 and the networks torch\.float64"):
        run(networks, torch.zeros(1, 4))
    with pytest.raises(ZoovetError, match="images are on meta and the networks on cpu"):
        run(networks, torch.zeros(1, 4, dtype=torch.float64, device="meta"))
    with pytest.raises(ZoovetError, match="chunk_size must be at least 1, got 0"):
        run(networks, torch.zeros(1, 4, dtype=torch.float64), chunk_size=0)
    with pytest.raises(ZoovetError, match="the batch of networks is empty"):
        run(networks[0:0], torch.zeros(1, 4, dtype=torch.float64))


def test_networks_of_one_layer_have_no_features(networks_of: MakeNetworks) -> None:
    graph = mlp((3, 2), "relu")
    with pytest.raises(ZoovetError, match="networks of one layer have no hidden one"):
        forward_features(networks_of(graph, 2), draw_images(graph, 4))
