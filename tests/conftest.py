"""What all tests share; random graphs of every kind, and the slow computation that the engine is held against."""

from __future__ import annotations

import os
import random
import re
import signal

# Before torch is imported: with more threads than one, small tensors take longer, and sums may differ by a bit.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
import yaml
from torch import Tensor
from torch.nn import functional

from zoovet.networks import ACTIVATIONS, Graph, LayerSpec, Networks, PoolSpec, siren
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo, write_shard

SIDE = 11

# In the background of a script, processes ignore Ctrl-C, under nohup a hang-up too, and so would those that tests end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


_TOGETHER = ("tests/cli/end_to_end/",)
"""Folders whose files share what takes long to make: each goes to one process as a whole, so that it is made once."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of several processes (``-n 2 --dist loadfile``) each is given whole files, and whole folders of these."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((folder for folder in _TOGETHER if nodeid.startswith(folder)), super()._split_scope(nodeid))

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def quarters() -> tuple[Tensor, Tensor]:
    """Forty images of 1 x 8 x 8, ten each of a bright quarter, and which quarter it is."""
    shown = torch.full((40, 1, 8, 8), -0.5)
    for row in range(40):
        top, left = divmod(row % 4, 2)
        shown[row, :, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4] = 0.5
    noise = torch.randn(shown.shape, generator=torch.Generator().manual_seed(0))
    return shown + 0.1 * noise, torch.arange(40) % 4


def _random_pool(draw: random.Random, size: int) -> PoolSpec | None:
    kind = draw.choice([None, "average", "max", "global"])
    if kind == "global":
        return PoolSpec(kind="global")
    if kind is None or size < 3:
        return None
    kernel = draw.choice([2, 3])
    padding = (draw.choice([0, 1]), draw.choice([0, 1]))
    return PoolSpec(kind=kind, kernel=(kernel, 2), stride=(draw.choice([1, 2]), 2), padding=padding)


def _activation(draw: random.Random) -> dict[str, object]:
    name = draw.choice(ACTIVATIONS)
    parameters = {"leaky_relu": [None, 0.2], "sine": [1.5, 3.0]}
    return {"activation": name, "activation_parameter": draw.choice(parameters.get(name, [None]))}


def make_graph(seed: int) -> Graph:
    """One to five layers: convolutions of every sort, then linear layers, the first one maybe on a flattened map."""
    draw = random.Random(seed)
    num_layers = draw.randint(1, 5)
    num_convolutions = draw.randint(0, num_layers)
    channels = draw.choice([1, 2, 3, 8])
    input_shape = (channels, SIDE, SIDE + 1)
    layers: list[LayerSpec] = []
    for _ in range(num_convolutions):
        size = (
            Graph.of_layers(input_shape=input_shape, layers=tuple(layers)).chain.map_sizes[-1]
            if layers
            else input_shape[1:]
        )
        if size is None:
            break
        kernel = draw.choice([k for k in (1, 3, 5) if k <= min(size)])
        dilation = draw.choice([d for d in (1, 2) if d * (kernel - 1) < min(size)])
        layers.append(
            LayerSpec(
                kind="conv",
                in_channels=channels,
                out_channels=draw.choice([1, 4, 6, 8, 16]),
                kernel=(kernel, draw.choice([1, kernel])),
                stride=(draw.choice([1, 2]), draw.choice([1, 2])),
                padding=(draw.randint(0, kernel // 2), draw.randint(0, kernel // 2)),
                dilation=(dilation, 1),
                **_activation(draw),
            )
        )
        size = Graph.of_layers(input_shape=input_shape, layers=tuple(layers)).chain.map_sizes[-1]
        assert size is not None
        pooled = _random_pool(draw, min(size))
        layers[-1] = LayerSpec(**{**layers[-1].__dict__, "pool": pooled})
        channels = layers[-1].out_channels
    for _ in range(num_layers - len(layers)):
        size = (
            Graph.of_layers(input_shape=input_shape, layers=tuple(layers)).chain.map_sizes[-1]
            if layers
            else input_shape[1:]
        )
        out_channels = draw.choice([1, 5, 10])
        layers.append(
            LayerSpec(
                kind="linear",
                in_channels=channels,
                out_channels=out_channels,
                kernel=size or (),
                **_activation(draw),
            )
        )
        channels = out_channels
    return Graph.of_layers(input_shape=input_shape, layers=tuple(layers))


def make_networks(graph: Graph, num_networks: int, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> Networks:
    """Weights of standard deviation 1/√fan-in (before a sine divided by its w0), so that signals keep their size."""
    generator = torch.Generator().manual_seed(seed)
    weights, biases = [], []
    for layer in graph.chain.layers:
        scale = (layer.in_channels * layer.kernel_size) ** -0.5
        if layer.activation == "sine":
            scale /= layer.activation_parameter or 1.0
        shape = (num_networks, *layer.weight_shape)
        weights.append((torch.randn(shape, generator=generator, dtype=torch.float64) * scale).to(dtype))
        biases.append(torch.randn((num_networks, shape[1]), generator=generator, dtype=torch.float64).to(dtype) * 0.3)
    return Networks.from_layers(graph, tuple(weights), tuple(biases))


def slow_forward(networks: Networks, images: Tensor) -> list[Tensor]:
    """One network after another by torch's own functions: every layer's values, the logits last."""
    own = images.ndim == len(networks.graph.input_shape) + 2
    everything = [
        _one(networks.graph, network, images[index] if own else images) for index, network in enumerate(networks)
    ]
    return [torch.stack(values) for values in zip(*everything, strict=True)]


def _one(graph: Graph, network: Networks, values: Tensor) -> list[Tensor]:
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "identity": lambda x: x,
        "relu": functional.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "gelu": functional.gelu,
        "silu": functional.silu,
    }
    outputs = []
    for layer, (weight,), (bias,) in zip(graph.chain.layers, network.weights, network.biases, strict=True):
        if layer.kind == "linear":
            values = values.flatten(1) @ weight.flatten(1).T + bias
        else:
            values = functional.conv2d(values, weight, bias, layer.stride, layer.padding, layer.dilation)
        parameter = layer.activation_parameter
        if layer.activation == "leaky_relu":
            values = torch.where(values > 0, values, values * parameter)
        elif layer.activation == "sine":
            values = torch.sin(values * parameter)
        else:
            values = functions[layer.activation](values)
        if layer.pool is not None:
            pool, geometry = layer.pool, (layer.pool.kernel, layer.pool.stride, layer.pool.padding)
            if pool.kind == "global":
                values = values.mean((-2, -1))
            else:
                values = {"average": functional.avg_pool2d, "max": functional.max_pool2d}[pool.kind](values, *geometry)
        outputs.append(values)
    return outputs


@pytest.fixture(autouse=True)
def usual_arithmetic() -> None:
    """Every test begins with denormal numbers; the command line, which tests call in their process, flushes them."""
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def make_inr_zoo(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Zoo]:
    """Write a zoo of random SIRENs and open it.

    ``labels`` gives each image's class in turn; SIRENs of odd classes are brighter, so that there is something to
    learn. ``change`` may change a row in place. Of five images three are to train, one to validate and one to test.
    """

    def make(
        labels: tuple[int, ...] = (0, 1) * 20,
        sizes: tuple[int, ...] = (2, 6, 5, 1),
        change: Callable[[dict[str, Any]], None] = lambda _: None,
        **recipe: Any,
    ) -> Zoo:
        graph, rows = siren(sizes), []
        for index, label in enumerate(labels):
            flat = np.random.default_rng(index).normal(0, 0.1, graph.num_parameters)
            flat[-sizes[-1] :] += 0.5 * (label % 2)
            row = {
                "network_id": f"{index:05d}-0",
                "base_id": index,
                "spec_id": graph.graph_id,
                "split": ("train", "train", "train", "validation", "test")[index % 5],
                "dataset": "digits",
                "image_index": index,
                "copy": 0,
                "label": label,
                "weights": flat.astype(np.float32),
            }
            change(row)
            rows.append(row)
        folder: Path = tmp_path_factory.mktemp("inr_zoo")
        shard = write_shard(folder / "shard-00000.parquet", rows)
        facts = {"image_splits": ["train"], "image_size": [8, 8], **recipe}
        ZooInfo(graphs={graph.graph_id: graph}, recipe=facts, versions={}, num_shards=1, shards=(shard,)).write(folder)
        return Zoo.open(folder)

    return make


@pytest.fixture
def spec_of_seed() -> Callable[[int], Graph]:
    return make_graph


@pytest.fixture
def networks_of() -> Callable[..., Networks]:
    return make_networks


@pytest.fixture
def slow() -> Callable[[Networks, Tensor], list[Tensor]]:
    return slow_forward


@pytest.fixture
def graph() -> Graph:
    """Two convolutions, and a linear layer that reads a flattened map."""
    return Graph.of_layers(
        input_shape=(1, 6, 6),
        layers=(
            LayerSpec(kind="conv", in_channels=1, out_channels=4, kernel=(3, 3), activation="relu"),
            LayerSpec(kind="conv", in_channels=4, out_channels=2, kernel=(3, 3), activation="relu"),
            LayerSpec(kind="linear", in_channels=2, out_channels=3, kernel=(2, 2)),
        ),
    )


@pytest.fixture
def networks(graph: Graph) -> Networks:
    return make_networks(graph, 1, dtype=torch.float32)


@pytest.fixture
def state(networks: Networks) -> dict[str, Tensor]:
    """As ``module.state_dict()`` of a module with names would give it; the linear layer reads a flattened map."""
    names = ("features.0", "features.2", "classifier.0")
    values: dict[str, Tensor] = OrderedDict()
    for name, weight, bias in zip(names, networks.weights, networks.biases, strict=True):
        values[f"{name}.weight"] = weight[0].flatten(1) if name == "classifier.0" else weight[0].clone()
        values[f"{name}.bias"] = bias[0].clone()
    return values


class Documents:
    """What the documents tell their readers to run, and which test does (``data/documented.yaml``)."""

    root = Path(__file__).parents[1]
    _words = r"(?:\.venv/bin/)?zoovet|python|make|git|pip|pipx|source|curl|export|docker|pre-commit"
    _command = re.compile(rf"^ {{4,}}(?:\$ )?(?:{_words}) .*$")

    def __init__(self) -> None:
        listed = yaml.safe_load((self.root / "tests" / "data" / "documented.yaml").read_text(encoding="utf-8"))
        self.entries: list[dict[str, str]] = listed["commands"]
        self.python_pages: dict[str, str] = listed["python"]
        documents = sorted((self.root / "docs").glob("*.md"))
        self.pages = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in documents)]

    def commands(self, page: str) -> list[str]:
        """A page's commands, without what is remarked behind them."""
        lines = (self.root / page).read_text(encoding="utf-8").splitlines()
        found = [line.strip().removeprefix("$ ") for line in lines if self._command.match(line)]
        return [re.split(r"\s+# ", command)[0] for command in found]

    def entry(self, command: str) -> dict[str, str]:
        """What is listed of a command."""
        fits = [entry for entry in self.entries if re.match(entry["match"], command)]
        assert fits, f"tests/data/documented.yaml says nothing of: {command}"
        return fits[0]

    def run_by(self, test: str, *pages: str) -> list[str]:
        """The commands of pages, by default all, that a file of tests is to run."""
        every = [command for page in pages or self.pages for command in self.commands(page)]
        return list(dict.fromkeys(command for command in every if self.entry(command).get("runs_in") == test))

    def python(self, page: str) -> list[str]:
        """A page's blocks that use the package."""
        text = (self.root / page).read_text(encoding="utf-8")
        blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for indented in re.findall(r"(?:^ {4}.*\n|^\n)+", text, re.MULTILINE):
            lines = [line.removeprefix("    ") for line in indented.splitlines() if not self._command.match(line)]
            blocks.append("\n".join(lines))
        uses = re.compile(r"^(?:import|from) zoovet|^\w+ = zoovet\.|^zoovet\.", re.MULTILINE)
        return [block for block in blocks if uses.search(block)]


@pytest.fixture(scope="session")
def documents() -> Documents:
    return Documents()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Amazon's protocol, spoken by moto's server on this machine; its buckets are ``bucket`` and ``my-bucket``."""
    pytest.importorskip("flask_cors")
    s3fs, server_of = pytest.importorskip("s3fs"), pytest.importorskip("moto.server")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server = server_of.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    requests.post(f"http://{host}:{port}/moto-api/reset", timeout=10)  # a process has one store for all its servers
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    system.mkdir("bucket")
    system.mkdir("my-bucket")
    yield system
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
