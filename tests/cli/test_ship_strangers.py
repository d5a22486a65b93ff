"""The shipped detector for strangers: made of a run, listed, and the default of a scan."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoovet import shipped
from zoovet.cli.models import print_models
from zoovet.cli.ship_strangers import main
from zoovet.tasks.strangers.detector import StrangerDetector
from zoovet.vet import EFFORTS, shipped_stranger_reader


def test_what_ships_opens_and_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    reader = shipped_stranger_reader()
    assert reader is not None
    assert reader.version.startswith("strangers-")
    for effort in EFFORTS:
        for count in (2, 5, 9, 43):
            assert 0 < reader.threshold(0.05, effort, count) <= reader.threshold(0.01, effort, count) < 1
        assert len({reader.threshold(0.01, effort, count) for count in (2, 3, 5, 7, 8, 10)}) == 4
    assert reader.reads_images
    blind = reader.without_images
    assert blind is not None
    assert not blind.reads_images
    for effort in EFFORTS:
        for count in (2, 5, 9, 43):
            assert 0 < blind.threshold(0.05, effort, count) <= blind.threshold(0.01, effort, count) < 1
    print_models()
    printed = capsys.readouterr().out
    assert "strangers\n  detector" in printed
    assert "strangers-without-images\n  detector" in printed


def test_one_that_was_trained_without_images_lies_apart(tmp_path: Path) -> None:
    file = shipped.stranger_detector(with_images=False)
    assert file is not None
    assert main([str(file), "--models", str(tmp_path)]) == 0
    assert shipped.stranger_detector(tmp_path) is None
    assert shipped.stranger_detector(tmp_path, with_images=False) is not None
    assert "without reference images" in (tmp_path / "strangers-without-images" / shipped.CARD_NAME).read_text()


def test_a_run_is_put_beside_the_models_with_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = shipped.stranger_detector()
    assert file is not None
    models = tmp_path / "models"
    models.mkdir()
    assert shipped.stranger_detector(models) is None
    assert shipped_stranger_reader(models) is None
    assert main([str(file), "--models", str(models)]) == 0
    again = shipped.stranger_detector(models)
    assert again is not None
    assert StrangerDetector.open(again).version == StrangerDetector.open(file).version
    assert "Limits" in (models / "strangers" / shipped.CARD_NAME).read_text()
    assert shipped.stranger_detector(models, with_images=False) is None
    assert main([str(tmp_path / "nothing"), "--models", str(models)]) == 2
    assert capsys.readouterr().err.startswith("error: there is no file or folder")
