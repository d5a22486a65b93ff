"""Models that come with the package: found by name, whole, small, and part of what is installed."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import zoovet
from zoovet import shipped
from zoovet.errors import ZoovetError

ROOT = Path(__file__).parents[2]


def make_models(folder: Path) -> Path:
    """Two models, the second without a repairer; and what is none."""
    files = {
        "b": ("detector.safetensors", "repairer.safetensors", "card.md"),
        "a": ("detector.safetensors",),
        "c": ("card.md",),
    }
    for file in [Path(name, file) for name, own in files.items() for file in own]:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(b"")
    return folder


def test_models_are_found_by_their_names(tmp_path: Path) -> None:
    models = make_models(tmp_path)
    assert shipped.names(models) == ("a", "b")
    assert shipped.kinds_of("a", models) == ("detector",)
    assert shipped.kinds_of("b", models) == ("detector", "repairer")
    assert shipped.file_of("b", "repairer", models) == models / "b" / "repairer.safetensors"
    assert shipped.card("b", models) == models / "b" / "card.md"


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    models = make_models(tmp_path / "models")
    with pytest.raises(ZoovetError, match=r"the model 'a' has no repairer; give one of your own with --repairer RUN"):
        shipped.file_of("a", "repairer", models)
    for look_up in (shipped.card, shipped.kinds_of):
        with pytest.raises(ZoovetError, match=r"there is no model 'c' in .*models; known: 'a', 'b'"):
            look_up("c", models)
    with pytest.raises(ZoovetError, match=r"there is no folder of models .*nowhere; leave it out"):
        shipped.names(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert shipped.names(tmp_path / "empty") == ()
    with pytest.raises(ZoovetError, match=r"there is no model 'a' in .*empty, which holds none at all"):
        shipped.card("a", tmp_path / "empty")


def test_the_packages_own_models_are_whole_and_small() -> None:
    files = [path for path in shipped.folder().rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert sum(path.stat().st_size for path in files) <= shipped.MAX_BYTES
    for name in shipped.names():
        assert "## Limits" in shipped.card(name).read_text(encoding="utf-8")
        detector, repairer = zoovet.Detector.shipped(name), zoovet.TrainedRepairer.shipped(name)
        assert set(detector.graphs) == set(repairer.graphs)
        for reader in (detector, repairer):
            assert reader.distribution is not None
            assert set(reader.distribution.by_graph) == set(reader.graphs)
    assert {path.parent.name for path in files} <= {*shipped.names(), "strangers", "strangers-without-images"}, (
        "nothing lies around"
    )


def test_the_packages_own_models_are_installed_with_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["zoovet.shipped"]
    installed = {path for pattern in patterns for path in shipped.folder().glob(pattern)}
    wanted = {shipped.file_of(name, kind) for name in shipped.names() for kind in shipped.kinds_of(name)}
    assert wanted | {shipped.card(name) for name in shipped.names()} <= installed
    kinds = [f"model/{kind}.safetensors" for kind in shipped.KINDS]
    for file in (*kinds, f"model/{shipped.CARD_NAME}"):
        assert any(Path(file).match(pattern) for pattern in patterns), file
