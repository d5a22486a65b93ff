"""A digest of weights is the same whatever file they lie in."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

import zoovet
from zoovet.vet import weights_digest


def test_it_is_the_sha_256_of_tensors_sorted_by_name() -> None:
    tensors = {"b": torch.tensor([[1.0, 2.0]]), "a": torch.tensor(3, dtype=torch.int64)}
    expected = hashlib.sha256(
        b"a\0int64\0\0" + (3).to_bytes(8, "little") + b"b\0float32\0" + b"1x2\0" + bytes.fromhex("0000803f00000040")
    )
    assert weights_digest(tensors) == expected.hexdigest()
    assert weights_digest(dict(reversed(tensors.items()))) == expected.hexdigest()
    assert weights_digest({**tensors, "norm.num_batches_tracked": torch.tensor(7)}) == expected.hexdigest()
    assert weights_digest({**tensors, "b": torch.tensor([[1.0, 2.5]])}) != expected.hexdigest()
    assert weights_digest({"b": tensors["b"].T.contiguous().T, "a": tensors["a"]}) == expected.hexdigest()


def test_a_module_and_its_files_have_one_digest(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4)]\n"
        "    return nn.Sequential(*layers)\n"
    )
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4))
    state = module.state_dict()
    torch.save(state, tmp_path / "a.pt")
    save_file(dict(reversed(state.items())), tmp_path / "b.safetensors")
    images = zoovet.Images(pixels=torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
    named = f"{tmp_path / 'own.py'}:make"
    digests = {zoovet.read(tmp_path / name, named, "unit", images).digest for name in ("a.pt", "b.safetensors")}
    assert digests == {zoovet.from_module(module, (1, 8, 8), "unit").digest} == {weights_digest(state)}
