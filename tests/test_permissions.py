"""New files and folders follow the umask; a file that is replaced keeps its permissions."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from zoovet import save_networks
from zoovet.evaluation.results.table import write_table
from zoovet.files import atomic_path, require_writable_folder, write_json, write_text
from zoovet.networks import Networks, mlp
from zoovet.tasks.checkpoints import save_checkpoint


@pytest.fixture(params=[0o022, 0o027, 0o077])
def mask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_files_and_folders_follow_the_umask(tmp_path: Path, mask: int) -> None:
    folder = require_writable_folder(tmp_path / "a" / "b")
    write_json(folder / "a.json", {})
    write_table(folder / "a.parquet", {"x": [1]}, {}, "test")
    graph = mlp((2, 3, 2))
    networks = Networks.from_flat(graph, torch.zeros(1, graph.num_parameters))
    save_networks(networks, folder / "a.safetensors")
    save_checkpoint(folder / "checkpoint.safetensors", "detector", nn.Linear(2, 2), {})
    with atomic_path(folder / "state.ckpt") as temporary:
        torch.save({}, temporary)
    files = sorted(folder.iterdir())
    assert len(files) == 5
    assert {mode(path) for path in files} == {0o666 & ~mask}
    assert {mode(path) for path in (folder, folder.parent)} == {0o777 & ~mask}


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, mask: int) -> None:
    for kept in (0o600, 0o664):
        path = tmp_path / f"{kept}.txt"
        path.write_text("old")
        path.chmod(kept)
        write_text(path, "new")
        assert (path.read_text(), mode(path)) == ("new", kept)


def test_what_a_link_leads_to_lends_no_permissions(tmp_path: Path) -> None:
    (tmp_path / "open.txt").write_text("old")
    (tmp_path / "open.txt").chmod(0o777)
    (tmp_path / "a.txt").symlink_to(tmp_path / "open.txt")
    write_text(tmp_path / "a.txt", "new")
    assert not (tmp_path / "a.txt").is_symlink()
    assert mode(tmp_path / "a.txt") & 0o111 == 0
