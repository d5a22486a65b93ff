"""The CUDA trainer goes the way that torch goes: its source on threads of this process, and on a GPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import zoovet.zoo.native.cuda_trainer as cuda_trainer
from zoovet.networks import Graph, LayerSpec, Networks, PoolSpec, mlp, run, small_cnn
from zoovet.zoo.native import CudaNetworks, NativeUnavailable, compile_cuda
from zoovet.zoo.native.cuda_library import CudaLibrary
from zoovet.zoo.samples import Schedule
from zoovet.zoo.side_by_side import ResidentImages, Training, _compiled, classify_side_by_side, train_side_by_side
from zoovet.zoo.training import initial_weights

NUM_IMAGES = 90
ROUNDING = 2e-3  # of the way that a network went: Adam's steps are as large for gradients that are mostly rounding
HERE = Path(__file__).parent


def conv(channels: tuple[int, int], kernel: tuple[int, int], activation: str, **more: Any) -> LayerSpec:
    into, out = channels
    return LayerSpec(kind="conv", in_channels=into, out_channels=out, kernel=kernel, activation=activation, **more)


def windows(kind: Any, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> PoolSpec:
    return PoolSpec(kind=kind, kernel=kernel, stride=stride, padding=padding)


GRAPHS = {
    "relu": small_cnn("relu", input_shape=(1, 9, 9), channels=(6, 8)),
    "tanh": small_cnn("tanh", input_shape=(1, 8, 8), channels=(16, 16, 16)),
    "max": Graph.of_layers(
        input_shape=(2, 9, 9),
        layers=(
            conv((2, 5), (3, 3), "sigmoid", padding=(1, 1), pool=windows("max", (3, 3), (2, 2), (1, 1))),
            conv((5, 4), (2, 2), "leaky_relu", dilation=(2, 1)),
            LayerSpec(kind="linear", in_channels=4, out_channels=9, kernel=(3, 4), activation="relu"),
            LayerSpec(kind="linear", in_channels=9, out_channels=10),
        ),
    ),
    "average": Graph.of_layers(
        input_shape=(1, 9, 9),
        layers=(
            conv((1, 6), (5, 5), "tanh", padding=(2, 2), pool=windows("average", (3, 2), (2, 1), (1, 1))),
            conv((6, 4), (3, 2), "identity", stride=(3, 2), padding=(1, 0)),
            conv((4, 10), (1, 1), "tanh", pool=PoolSpec(kind="global")),
        ),
    ),
}


def images_for(graph: Graph) -> ResidentImages:
    draws = np.random.default_rng(0)
    images = draws.normal(size=(NUM_IMAGES, *graph.input_shape)).astype(np.float32)
    return ResidentImages(torch.from_numpy(images), torch.from_numpy(draws.integers(10, size=NUM_IMAGES)))


def trainings(graph: Graph, dropout: float = 0.0) -> list[Training]:
    """Three optimizers, with weight decay, one held near an anchor; batches of 20 of 41, 48, 55 images, two epochs."""
    result = []
    for number, (optimizer, rate) in enumerate((("sgd", 2e-2), ("adam", 3e-3), ("rmsprop", 1e-3))):
        draws = np.random.default_rng([number, 5])
        start = torch.from_numpy(initial_weights(graph, "he", 0.1, draws))
        schedule = Schedule(
            optimizer=optimizer, learning_rate=rate, weight_decay=1e-3, dropout=dropout, batch_size=20, epochs=2
        )
        held: dict[str, Any] = {"anchor": start + 0.05, "anchor_strength": 0.3} if number == 1 else {}
        result.append(
            Training(
                graph=graph,
                start=start,
                indices=draws.permutation(NUM_IMAGES)[: 41 + 7 * number].astype(np.int32),
                schedule=schedule,
                generator=np.random.default_rng([number, 6]),
                **held,
            )
        )
    return result


class ThreadLibrary(CudaLibrary):
    """Launches the kernels of a library that was compiled for processors."""

    def launch(self, kernel: str, blocks: tuple[int, int], *arguments: torch.Tensor | int | None) -> None:
        function = getattr(self.module, kernel.replace("zoovet", "run"))
        given = [
            ctypes.c_int(value)
            if isinstance(value, int)
            else ctypes.c_void_p(None if value is None else value.data_ptr())
            for value in arguments
        ]
        function(*(blocks if kernel == "zoovet_classify" else blocks[:1]), *given)


@pytest.fixture(scope="module", params=[1, 96], ids=["one thread", "three warps"])
def on_threads(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., CudaNetworks]:
    """Compiles a graph's trainer for processors, with so many threads a block."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    threads: int = request.param

    def compile_chain(graph: Graph, shared_bytes: int = 2**17) -> CudaNetworks:
        folder = tmp_path_factory.mktemp("trainer")
        constants, used = cuda_trainer.describe_layers(graph, num_threads=threads, shared_bytes=shared_bytes)
        assert used <= shared_bytes
        (folder / "constants.h").write_text(constants)
        defined = {"CONSTANTS_FILE": folder / "constants.h", "TRAINER_SOURCE": cuda_trainer._SOURCE}
        flags = [f'-D{name}="{path}"' for name, path in defined.items()]
        command = [compiler, "-std=c++20", "-O1", "-pthread", "-shared", "-fPIC", *flags]
        subprocess.run([*command, HERE / "trainer_on_threads.cpp", "-o", folder / "trainer.so"], check=True)
        library = ThreadLibrary(ctypes.CDLL(str(folder / "trainer.so")), torch.device("cpu"), used, threads)
        return CudaNetworks(graph, library)

    return compile_chain


TRAINED = [
    pytest.param(threads, name, marks=pytest.mark.slow if threads > 1 else ()) for threads in (1, 96) for name in GRAPHS
]
"""Threads of a block, and a graph; 96 of them wait for each other for half a minute."""


def through_torch(graph: Graph) -> torch.Tensor:
    return torch.stack(train_side_by_side(trainings(graph), images_for(graph)))


@pytest.mark.parametrize(("on_threads", "name"), TRAINED, indirect=["on_threads"])
def test_the_source_on_threads_trains_as_torch_does(
    name: str, on_threads: Callable[..., CudaNetworks], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = GRAPHS[name]
    expected, start = through_torch(graph), torch.stack([one.start for one in trainings(graph)])
    compiled = on_threads(graph)
    monkeypatch.setattr("zoovet.zoo.side_by_side._compiled", lambda graph, device: compiled)
    found = torch.stack(train_side_by_side(trainings(graph), images_for(graph)))
    moved = (expected - start).abs().amax(dim=1, keepdim=True)
    assert float(moved.min()) > 1e-3
    assert float(((found - expected) / moved).abs().max()) < ROUNDING


@pytest.mark.parametrize("on_threads", [1], indirect=True)
@pytest.mark.parametrize("images", [1, 2, 6])
def test_it_does_not_matter_how_many_images_fit_the_memory(
    images: int, on_threads: Callable[..., CudaNetworks], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = GRAPHS["relu"]
    _, weights, floats = cuda_trainer._placed(graph)
    compiled = on_threads(graph, 4 * (weights + images * (floats + graph.num_outputs + 2)))
    expected = through_torch(graph)
    monkeypatch.setattr("zoovet.zoo.side_by_side._compiled", lambda graph, device: compiled)
    found = torch.stack(train_side_by_side(trainings(graph), images_for(graph)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_labels_of_the_source_on_threads(
    on_threads: Callable[..., CudaNetworks], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = GRAPHS["max"]
    images, compiled = images_for(graph).images, on_threads(graph)
    flats = [one.start for one in trainings(graph)]
    shown = torch.from_numpy(np.random.default_rng(1).integers(NUM_IMAGES, size=(3, 50)).astype(np.int32))
    logits = run(Networks.from_flat(graph, torch.stack(flats)), images)
    expected = logits.argmax(dim=2)
    assert len(expected.unique()) > 1
    assert torch.equal(classify_side_by_side([graph] * 3, flats, images, shown), expected.gather(1, shown.long()))
    monkeypatch.setattr("zoovet.zoo.side_by_side._compiled", lambda graph, device: compiled)
    monkeypatch.setattr(cuda_trainer, "_multiprocessors", lambda device: 4)
    assert torch.equal(classify_side_by_side([graph] * 3, flats, images), expected)
    assert torch.equal(classify_side_by_side([graph] * 3, flats, images, shown), expected.gather(1, shown.long()))


@pytest.mark.parametrize("on_threads", [1], indirect=True)
def test_dropout_on_threads_drops_its_share_and_keeps_the_gradient_on_average(
    on_threads: Callable[..., CudaNetworks], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step of SGD moves networks of small logits, on average over dropout's draws, as without dropout."""
    graph = GRAPHS["relu"]
    start = 0.01 * torch.from_numpy(initial_weights(graph, "glorot", 0.1, np.random.default_rng(1)))
    compiled = on_threads(graph)
    monkeypatch.setattr("zoovet.zoo.side_by_side._compiled", lambda graph, device: compiled)

    def moved(dropout: float, count: int) -> torch.Tensor:
        schedule = Schedule(
            optimizer="sgd", learning_rate=1.0, weight_decay=0.0, dropout=dropout, batch_size=1, epochs=1
        )
        one: dict[str, Any] = {"graph": graph, "start": start, "indices": np.zeros(1, np.int32), "schedule": schedule}
        made = [Training(**one, generator=np.random.default_rng(seed)) for seed in range(count)]
        return torch.stack(train_side_by_side(made, images_for(graph))).sub(start)

    changes, without = moved(0.4, 400), moved(0.0, 1)[0]
    assert torch.equal(changes[:5], moved(0.4, 5))
    assert float(changes.std(dim=0).max()) > 0
    assert (changes.mean(dim=0) - without).abs().max() < 0.2 * without.abs().max()


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (small_cnn("silu"), "does not know the activation 'silu'"),
        (mlp((784, 512, 10)), r"take \d+ bytes, and a multiprocessor of this device shares 232448"),
        (Graph.of_layers(input_shape=(1, 9, 9), layers=(conv((1, 10), (3, 3), "relu"),)), "whose logits are a map"),
    ],
)
def test_what_the_trainer_cannot_do_is_said(graph: Graph, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_trainer, "shared_memory", lambda device: 232448)
    with pytest.raises(NativeUnavailable, match=message):
        compile_cuda(graph, torch.device("cuda", 0))


def _nothing_to_load() -> None:
    raise RuntimeError("no libnvrtc.so")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (None, "several times slower .* cuda-bindings cannot be imported"),
        (
            SimpleNamespace(driver=None, nvrtc=SimpleNamespace(nvrtcVersion=_nothing_to_load)),
            "install nvidia-cuda-nvrtc",
        ),
    ],
    ids=["no bindings", "no compiler"],
)
def test_without_a_compiler_networks_are_trained_through_torch(
    module: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(bindings=module))
    monkeypatch.setitem(sys.modules, "cuda.bindings", module)
    _compiled.cache_clear()
    with pytest.warns(UserWarning, match=message):
        assert _compiled(GRAPHS["relu"], torch.device("cuda", 0)) is None
    _compiled.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", GRAPHS)
def test_a_gpu_trains_and_labels_as_a_processor_does(name: str) -> None:
    graph, images = GRAPHS[name], images_for(GRAPHS[name])
    there = ResidentImages(images.images.cuda(), images.labels.cuda())
    expected, start = through_torch(graph), torch.stack([one.start for one in trainings(graph)])
    found = torch.stack(train_side_by_side(trainings(graph), there)).cpu()
    moved = (expected - start).abs().amax(dim=1, keepdim=True)
    assert float(((found - expected) / moved).abs().max()) < ROUNDING
    labels = classify_side_by_side([graph] * 3, list(found.cuda()), there.images)
    assert torch.equal(labels.cpu(), classify_side_by_side([graph] * 3, list(found), images.images))
    dropping = [torch.stack(train_side_by_side(trainings(graph, dropout=0.2), there)) for _ in range(2)]
    assert torch.equal(*dropping)
    assert float((dropping[0].cpu() - found).abs().max()) > 1e-3
