from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, Networks, mlp, small_cnn
from zoovet.readers import load_networks, save_networks

MakeNetworks = Callable[..., Networks]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(8))
def test_round_trip(
    tmp_path: Path,
    seed: int,
    dtype: torch.dtype,
    spec_of_seed: Callable[[int], Graph],
    networks_of: MakeNetworks,
) -> None:
    networks = networks_of(spec_of_seed(seed), 5, dtype=dtype)
    save_networks(networks, tmp_path / "five.safetensors")
    for again in (
        load_networks(tmp_path / "five.safetensors"),
        load_networks(str(tmp_path / "five.safetensors"), graph=networks.graph),
    ):
        assert again.graph == networks.graph
        assert again.dtype == dtype
        assert torch.equal(again.flat(), networks.flat())


def test_several_files_are_one_batch(graph: Graph, tmp_path: Path, networks_of: MakeNetworks) -> None:
    networks = networks_of(graph, 3)
    save_networks(networks[:2], tmp_path / "a.safetensors")
    save_networks(networks[2], tmp_path / "b.safetensors")
    again = load_networks([tmp_path / "a.safetensors", str(tmp_path / "b.safetensors")])
    assert torch.equal(again.flat(), networks.flat())


def test_several_files_must_have_one_spec(graph: Graph, tmp_path: Path, networks_of: MakeNetworks) -> None:
    save_networks(networks_of(graph, 1), tmp_path / "a.safetensors")
    save_networks(networks_of(small_cnn(), 1), tmp_path / "b.safetensors")
    with pytest.raises(ZoovetError, match=r"different graphs: 1×28×28 .* in .*b\.safetensors, 1×6×6 .*before it"):
        load_networks([tmp_path / "a.safetensors", tmp_path / "b.safetensors"])
    with pytest.raises(ZoovetError, match="no files were given"):
        load_networks([])


def test_views_and_gradients_are_saved_as_numbers(graph: Graph, tmp_path: Path, networks_of: MakeNetworks) -> None:
    flat = networks_of(graph, 4).flat().requires_grad_()
    networks = Networks.from_flat(graph, flat)[::2]
    save_networks(networks, tmp_path / "a.safetensors")
    assert torch.equal(load_networks(tmp_path / "a.safetensors").flat(), networks.flat())


def test_half_precision_is_read_as_float32(tmp_path: Path, networks: Networks) -> None:
    half = networks.to(dtype=torch.bfloat16)
    save_networks(half, tmp_path / "a.safetensors")
    again = load_networks(tmp_path / "a.safetensors")
    assert again.dtype == torch.float32
    assert torch.equal(again.flat(), half.flat().float())


def test_another_spec_is_refused_with_both(tmp_path: Path, networks: Networks) -> None:
    save_networks(networks, tmp_path / "a.safetensors")
    message = r"a\.safetensors does not fit the graph: it holds networks of 1×6×6 → conv 4.*expected are 1×28×28"
    with pytest.raises(ZoovetError, match=message):
        load_networks(tmp_path / "a.safetensors", graph=small_cnn())


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    save_networks(networks, path)
    before = path.read_bytes()

    def fail_half_way(tensors: dict[str, Tensor], filename: Path, metadata: dict[str, str]) -> None:
        Path(filename).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(save_networks.__globals__, "save_file", fail_half_way)
    with pytest.raises(ZoovetError, match=r"cannot write .*a\.safetensors: .*No space left on device"):
        save_networks(networks, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written(tmp_path: Path, networks: Networks) -> None:
    with pytest.raises(ZoovetError, match=r"cannot write .*nowhere/a\.safetensors"):
        save_networks(networks, tmp_path / "nowhere" / "a.safetensors")
    with pytest.raises(ZoovetError, match=r"ends in \.safetensors, not 'a\.pt'"):
        save_networks(networks, tmp_path / "a.pt")
    broken = networks.map(lambda tensor: tensor / 0)
    with pytest.raises(ZoovetError, match=r"not written to .*a\.safetensors: network 0 has NaN or infinite weights"):
        save_networks(broken, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zoovet_format": "2"}, r"a\.safetensors is in zoovet's format '2', this zoovet reads '1'"),
        ({"zoovet_spec": "{"}, r"a\.safetensors: its zoovet_spec cannot be read"),
        ({"zoovet_spec": "[" * 100_000}, r"a\.safetensors: its zoovet_spec cannot be read"),
        (
            {"zoovet_spec": '{"input_shape": [3]}'},
            r"zoovet_spec cannot be read: a graph lacks the key 'parameters'",
        ),
        (
            {"zoovet_spec": json.dumps(mlp((3, 2)).to_json())},
            r"own graph, 3 → linear 2: expected are weights and biases of 1 layers, it holds more; get it anew",
        ),
        (
            {"zoovet_spec": json.dumps(small_cnn(channels=(4, 2)).to_json())},
            r"own graph.*: weights\[2\] must have the shape",
        ),
    ],
)
def test_damaged_metadata(
    graph: Graph, tmp_path: Path, networks: Networks, change: dict[str, str], message: str
) -> None:
    metadata = {"zoovet_format": "1", "zoovet_spec": json.dumps(graph.to_json()), **change}
    tensors = {f"weights.{index}": weight for index, weight in enumerate(networks.weights)}
    tensors |= {f"biases.{index}": bias for index, bias in enumerate(networks.biases)}
    save_file(tensors, tmp_path / "a.safetensors", metadata)
    with pytest.raises(ZoovetError, match=message):
        load_networks(tmp_path / "a.safetensors")
