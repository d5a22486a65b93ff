from __future__ import annotations

import pytest

from zoovet.fetching.weight_files import NO_WEIGHT_FILE, Gathered, WeightFile, parts_of, preference, split_by_name


def test_an_index_stands_for_its_parts_and_an_onnx_file_for_its_numbers() -> None:
    names = [
        "README.md",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "model-v2.safetensors",
        "net.ONNX",
        "net.onnx_data",
        "old/checkpoint.pth.tar",
        "config.json",
    ]
    taken, skipped = split_by_name(names)
    assert taken == ["model.safetensors.index.json", "model-v2.safetensors", "net.ONNX", "old/checkpoint.pth.tar"]
    assert {one.name: one.reason for one in skipped} == {
        "README.md": NO_WEIGHT_FILE,
        "config.json": NO_WEIGHT_FILE,
        "model-00001-of-00002.safetensors": "a part of model.safetensors.index.json",
        "model-00002-of-00002.safetensors": "a part of model.safetensors.index.json",
        "net.onnx_data": "numbers of the ONNX file beside it",
    }
    assert parts_of(taken, skipped) == [*names[1:3], "net.onnx_data"]
    assert parts_of(["model-v2.safetensors"], skipped) == []


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.safetensors", 0),
        ("model.safetensors.index.json", 0),
        ("x/a.onnx", 0),
        ("a.keras", 1),
        ("tf_model.h5", 1),
        ("a.pt2", 1),
        ("pytorch_model.bin", 2),
        ("pytorch_model.bin.index.json", 2),
        ("a.pth.tar", 2),
    ],
)
def test_what_cannot_hold_code_is_preferred(name: str, place: int) -> None:
    assert preference(name) == place


def test_a_file_that_comes_twice_is_there_once_at_its_first_place(tmp_path) -> None:
    files = [WeightFile(path=tmp_path / name, name=name) for name in ("a", "b", "a", "c")]
    together = Gathered.together([Gathered(files=tuple(files[:2])), Gathered(files=tuple(files[2:]))])
    assert [file.name for file in together.files] == ["a", "b", "c"]
