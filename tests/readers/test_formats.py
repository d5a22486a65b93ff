from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, Networks, to_module
from zoovet.readers import load_networks, read_state_dict, save_networks
from zoovet.readers.formats import read_content

MakeNetworks = Callable[..., Networks]


class CodeInAFile:
    """A pickle of this makes a file when it is loaded without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    return tmp_path / "pwned"


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_torch_file_is_refused_and_not_run(
    graph: Graph, tmp_path: Path, trap: Path, state: dict[str, Tensor], zipped: bool
) -> None:
    path = tmp_path / "a.pt"
    torch.save({**state, "more": CodeInAFile(trap)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        ZoovetError, match=r"a\.pt was refused and nothing in it was run: .*\.system'.*may run any code"
    ):
        load_networks(path, graph)
    assert not trap.exists()
    torch.load(path, weights_only=False)
    assert trap.exists(), "the trap does not work, so this test shows nothing"


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_bare_pickle_is_refused_and_not_run(tmp_path: Path, trap: Path, protocol: int) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"weight": np.ones(3)}, protocol=protocol))
    with pytest.raises(
        ZoovetError, match=r"a\.pkl is a Python pickle that torch\.save did not write.*nothing in it was run"
    ):
        read_state_dict(path)
    path.write_bytes(pickle.dumps({"weight": CodeInAFile(trap)}, protocol=protocol))
    with pytest.raises(ZoovetError, match=r"a\.pkl was refused and nothing in it was run: its pickle asks for 'os"):
        read_state_dict(path)
    assert not trap.exists()
    pickle.loads(path.read_bytes())
    assert trap.exists(), "the trap does not work, so this test shows nothing"


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_module_is_refused_and_the_way_out_told(
    graph: Graph, tmp_path: Path, networks: Networks, zipped: bool
) -> None:
    torch.save(to_module(networks), tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    message = r"'torch\.nn\.modules\.container\.Sequential'.*torch\.save\(module\.state_dict\(\), 'weights\.pt'\)"
    with pytest.raises(ZoovetError, match=message):
        load_networks(tmp_path / "a.pt", graph)


def test_a_program_is_no_state_dict(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, that torch.jit is deprecated
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "a.pt")
    with pytest.raises(ZoovetError, match=r"a\.pt is TorchScript, which says its network's own graph: zoovet\.read"):
        read_state_dict(tmp_path / "a.pt")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "own"])
def test_truncated_files(
    graph: Graph, tmp_path: Path, networks: Networks, state: dict[str, Tensor], kind: str, share: float
) -> None:
    path = tmp_path / "a.safetensors"
    match kind:
        case "own":
            save_networks(networks, path)
        case "safetensors":
            save_file(state, path)
        case _:
            torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: max(16, int(len(whole) * share))])
    with pytest.raises(ZoovetError, match=r"a\.safetensors is .*damaged or truncated"):
        load_networks(path, graph)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.pt is empty"),
        (
            b"hello, this is no weight file",
            "a.pt is not a weight file: it is a text; expected is a file of weights, or of a network",
        ),
        (b"\x08\x07\x12\x07pytorch and more of ONNX", r"a\.pt looks like an ONNX file, but has no graph"),
        (b"x", "a.pt is not a weight file"),
    ],
)
def test_other_files(graph: Graph, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ZoovetError, match=message):
        load_networks(tmp_path / "a.pt", graph)


def test_another_zip_file(graph: Graph, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", weight=np.ones(3))
    with pytest.raises(ZoovetError, match=r"a\.npz is a NumPy archive \(\.npz\), which is not read; save"):
        load_networks(tmp_path / "a.npz", graph)


def test_missing_files_and_folders(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=r"nowhere\.pt does not exist"):
        load_networks(tmp_path / "nowhere.pt", graph)
    with pytest.raises(ZoovetError, match="cannot be read: it is a folder; give the weight files in it"):
        load_networks(tmp_path, graph)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(3), r"a\.pt holds a tensor, expected is a dictionary of named tensors"),
        ([torch.zeros(3)], r"a\.pt has no named tensors, it is a list of 1 entry; save its state dict: torch\.save"),
        ({"generator": {3: torch.zeros(3)}, "epoch": 3}, r"it is a dictionary of 'generator', 'epoch'"),
        ({}, r"a\.pt has no named tensors, it is a dictionary of 0 entries"),
    ],
)  # fmt: skip
def test_files_that_hold_something_else(graph: Graph, tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ZoovetError, match=message):
        load_networks(tmp_path / "a.pt", graph)


@pytest.mark.parametrize("zipped", [True, False])
def test_plain_numbers_beside_the_tensors_are_kept(tmp_path: Path, state: dict[str, Tensor], zipped: bool) -> None:
    path = tmp_path / "a.pt"
    torch.save({**state, "label": 7, "psnr": 31.5, "note": "x"}, path, _use_new_zipfile_serialization=zipped)
    content = read_content(path)
    assert content.numbers == {"label": 7, "psnr": 31.5}
    assert list(content.tensors) == list(state)
