from __future__ import annotations

import json
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from zoovet.fetching import Hint, gathered
from zoovet.fetching.hints import hint_beside, hint_for, hint_of_config
from zoovet.networks import InputScaling

TIMM: dict[str, Any] = {
    "architecture": "resnet18",
    "num_classes": 10,
    "pretrained_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "input_size": [3, 32, 32]},
}


def _hint(tmp_path: Path, config: object) -> Hint:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return hint_of_config(tmp_path / "config.json")


def test_timms_configuration_says_architecture_scaling_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: ModuleSpec(name, None))
    mean, deviation = (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)
    notes = ("read as timm's resnet18, as its config.json says",)
    expected = Hint(architecture="timm:resnet18", mean=mean, deviation=deviation, input_shape=(3, 32, 32), notes=notes)
    assert _hint(tmp_path, TIMM) == expected
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    notes = ("config.json says timm's resnet18: pip install timm, and it is read as that",)
    assert _hint(tmp_path, TIMM) == Hint(mean=mean, deviation=deviation, input_shape=(3, 32, 32), notes=notes)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"architectures": ["BertModel"]}, "config.json says BertModel, which nothing follows from"),
        ({"architecture": "x" * 200}, None),
        ({"architecture": 3}, None),
        ({}, None),
        ([], "config.json is not used: "),
    ],
)
def test_what_it_does_not_say_is_no_hint(tmp_path: Path, config: object, said: str | None) -> None:
    hint = _hint(tmp_path, config)
    assert (hint.architecture, hint.mean, hint.deviation, hint.input_shape) == (None, None, None, None)
    assert hint.notes == () if said is None else hint.notes[0].startswith(said)


def test_odd_numbers_are_no_scaling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: ModuleSpec(name, None))
    for odd in ({"mean": "0.5"}, {"std": [1] * 9}, {"mean": [None]}, {"input_size": [3, 0.5, 9]}, {"input_size": [3]}):
        hint = _hint(tmp_path, {"architecture": "a", "mean": [0.5], "std": [0.5], "input_size": [1, 8, 8], **odd})
        assert None in (hint.mean, hint.input_shape)


TRANSFORMERS: dict[str, Any] = {"architectures": ["ViTForImageClassification"], "model_type": "vit", "image_size": 32}


def test_transformers_configurations_say_architecture_scaling_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: ModuleSpec(name, None))
    images = tmp_path / "preprocessor_config.json"
    images.write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.2] * 3, "size": {"shortest_edge": 224}}))
    (tmp_path / "config.json").write_text(json.dumps(TRANSFORMERS))
    path = tmp_path / "config.json"
    notes = ("read as transformers' ViTForImageClassification, as its config.json says",)
    expected = Hint(
        architecture=f"transformers:{path}",
        mean=(0.5,) * 3,
        deviation=(0.2,) * 3,
        input_shape=(3, 32, 32),
        notes=notes,
    )
    assert hint_of_config(path, images) == expected
    path.write_text(json.dumps({**TRANSFORMERS, "image_size": None, "num_channels": 1}))
    assert hint_of_config(path, images).input_shape == (1, 224, 224)
    images.write_text(json.dumps({"do_center_crop": True, "crop_size": {"height": 8, "width": 9}, "size": 300}))
    assert hint_of_config(path, images).input_shape == (1, 8, 9)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    hint = hint_of_config(path, images)
    said = "config.json says transformers' ViTForImageClassification: pip install transformers, and it is read as that"
    assert (hint.architecture, hint.notes) == (None, (said,))


@pytest.mark.parametrize(
    "odd",
    [
        {"do_normalize": False},
        {"do_rescale": False},
        {"rescale_factor": 0.0078},
        {"rescale_factor": "1"},
        {"image_mean": "0.5"},
        {"image_std": None},
    ],
)
def test_a_scaling_of_another_kind_is_none(tmp_path: Path, odd: dict[str, Any]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TRANSFORMERS))
    (tmp_path / "images.json").write_text(json.dumps({"image_mean": [0.5], "image_std": [0.5], **odd}))
    hint = hint_of_config(tmp_path / "config.json", tmp_path / "images.json")
    assert (hint.mean, hint.deviation) == (None, None)
    (tmp_path / "images.json").write_text("no JSON")
    assert hint_of_config(tmp_path / "config.json", tmp_path / "images.json").input_shape == (3, 32, 32)


def test_a_configuration_beside_a_file_counts_where_a_library_wrote_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: ModuleSpec(name, None))
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    for name in ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"):
        hint = hint_beside(tmp_path / name)
        assert hint is not None
        assert hint.architecture == "timm:resnet18"
        assert hint.scaling == InputScaling(mean=(0.5, 0.4, 0.3), deviation=(0.2, 0.2, 0.2))
    assert hint_beside(tmp_path / "mine.pth") is None
    for other in ({"architecture": "resnet20", "lr": 0.1}, {"lr": 0.1}, []):
        (tmp_path / "config.json").write_text(json.dumps(other))
        assert hint_beside(tmp_path / "model.safetensors") is None
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "mine.pth").touch()
    for given in ([str(tmp_path)], [str(tmp_path / "mine.pth"), str(tmp_path / "model.safetensors")]):
        files = gathered(given, tmp_path, offline=True).files
        assert [file.hint is None for file in files] == [True, False]


def test_a_file_that_says_its_graph_is_read_as_that() -> None:
    hint = Hint(architecture="timm:resnet18", mean=(0.5,), deviation=(0.2,), notes=("read as timm's resnet18",))
    assert hint_for("onnx/model.onnx", hint) == Hint(mean=(0.5,), deviation=(0.2,))
    assert hint_for("model.safetensors", hint) is hint
    assert hint_for("model.onnx", None) is None
