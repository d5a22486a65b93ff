from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from zoovet.fetching.folders import in_folder


def test_folders_are_gone_through_and_what_is_left_out_is_said(write: Callable[..., Path]) -> None:
    folder = write("b/x.onnx", "a.pt", "b/c/y.H5", "notes.md", "b/z.md", "LICENSE", ".git/w.pt")
    (folder / "link").symlink_to(folder / "b")
    (folder / "same.pth").symlink_to(folder / "a.pt")
    os.mkfifo(folder / "pipe.pt")
    found = in_folder(folder)
    assert [file.name for file in found.files] == [
        str(folder / name) for name in ("a.pt", "b/c/y.H5", "b/x.onnx", "same.pth")
    ]
    assert {(one.name.removeprefix(f"{folder}/"), one.reason) for one in found.skipped} == {
        (".git", "a hidden folder"),
        ("link", "a link to a folder"),
        ("pipe.pt", "no regular file"),
        (str(folder), "3 files whose names are no weight files': 2 .md, 1 without an ending"),
    }
    assert found.failures == ()


def test_shards_are_read_by_their_index(write: Callable[..., Path]) -> None:
    folder = write("m/model.safetensors.index.json", "m/model-00001-of-00001.safetensors")
    found = in_folder(folder)
    assert [file.path.name for file in found.files] == ["model.safetensors.index.json"]
    assert found.skipped[0].reason == "a part of m/model.safetensors.index.json"


def test_a_folder_without_weight_files_is_a_failure(write: Callable[..., Path]) -> None:
    folder = write("a.md")
    assert in_folder(folder).failures == ((str(folder), "it holds no weight file, of 1 files"),)
