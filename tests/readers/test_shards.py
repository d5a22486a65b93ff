from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.readers import read_content

INDEX = "model.safetensors.index.json"


def write(folder: Path, state: dict[str, Tensor]) -> dict[str, str]:
    """A state dict in two files and its index; which tensor is in which file."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(state)
    files = {name: f"model-0000{1 + (place >= 3)}-of-00002.safetensors" for place, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: state[name].contiguous() for name in names if files[name] == file}, folder / file)
    index(folder, files)
    return files


def index(folder: Path, files: Any) -> None:
    content = {"metadata": {"total_size": 1}, "weight_map": files}
    (folder / INDEX).write_text(json.dumps(content), encoding="utf-8")


def test_shards_are_read_by_their_index_or_folder(tmp_path: Path, state: dict[str, Tensor]) -> None:
    write(tmp_path, state)
    for path in (tmp_path, tmp_path / INDEX):
        content = read_content(path)
        assert not content.ordered
        assert set(content.tensors) == set(state)
        assert all(torch.equal(content.tensors[name], value) for name, value in state.items())


def test_shards_by_torch_save(tmp_path: Path, state: dict[str, Tensor]) -> None:
    names = list(state)
    torch.save({name: state[name] for name in names[:2]}, tmp_path / "one.bin")
    torch.save({name: state[name] for name in names[2:]}, tmp_path / "two.bin")
    files = {name: "one.bin" if name in names[:2] else "two.bin" for name in names}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}), encoding="utf-8")
    content = read_content(tmp_path)
    assert content.ordered
    assert list(content.tensors) == names


def test_a_download_cache_links_to_one_folder(tmp_path: Path, state: dict[str, Tensor]) -> None:
    files = write(tmp_path / "blobs", state)
    snapshot = tmp_path / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    for name in (INDEX, *set(files.values())):
        (snapshot / name).symlink_to(tmp_path / "blobs" / name)
    assert set(read_content(snapshot).tensors) == set(state)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../a.safetensors", r"is unsafe: it names the file '\.\./a\.safetensors', which is not beside it"),
        ("/etc/passwd", "is unsafe: it names the file '/etc/passwd'"),
        ("..", r"is unsafe: it names the file '\.\.'"),
        ("a\\b", "is unsafe"),
        ("a\0b", r"is unsafe: it names the file 'a\\x00b'"),
        ("missing.safetensors", r"missing\.safetensors does not exist"),
        ("link.safetensors", r"its shard 'link\.safetensors' is a link to elsewhere"),
        (INDEX, "its shard '.*' is no state dict"),
        (5, "its weight_map names no files|it names no files"),
    ],
)
def test_shards_elsewhere(tmp_path: Path, state: dict[str, Tensor], name: Any, message: str) -> None:
    folder = tmp_path / "folder"
    files = write(folder, state)
    (tmp_path / "elsewhere.safetensors").write_bytes((folder / next(iter(files.values()))).read_bytes())
    (folder / "link.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    index(folder, {**files, next(iter(files)): name})
    with pytest.raises(ZoovetError, match=message):
        read_content(folder)


def test_shards_that_are_not_what_the_index_says(tmp_path: Path, state: dict[str, Tensor]) -> None:
    files = write(tmp_path, state)
    index(tmp_path, {**files, "more.weight": next(iter(files.values()))})
    with pytest.raises(ZoovetError, match=r"its shard '.*' lacks 'more\.weight'; get the files anew"):
        read_content(tmp_path)
    twice = tmp_path / "model-00003.safetensors"
    twice.write_bytes((tmp_path / next(iter(files.values()))).read_bytes())
    index(tmp_path, {**files, next(iter(files)): twice.name})
    with pytest.raises(ZoovetError, match=r"its shard 'model-00003\.safetensors' has '.*' once more"):
        read_content(tmp_path)
