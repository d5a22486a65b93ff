"""What a benchmark of strangers writes: tables for people, figures for programs, and what the card is made of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from zoovet import shipped
from zoovet.benchmark.strangers import StrangerBenchmarkConfig, StrangerResults, opened_park
from zoovet.cli.main import main
from zoovet.cli.ship_strangers import main as ship
from zoovet.config import write_config
from zoovet.errors import ZoovetError


def test_page_and_figures_say_the_same(finished: tuple[Path, list[str]]) -> None:
    out, _ = finished
    figures = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert (figures["networks"], figures["bases"], figures["effort"]) == (23, 12, "normal")
    assert list(figures["tables"]) == ["dataset, known", "dataset, test"]
    assert figures["tables"]["dataset, test"]["all"]["networks"] == 8
    assert list(figures["other_images"]["1-unlabelled"]) == ["dataset, test"]
    assert set(figures["rivals"]["normal"]["dataset"]) == {"trojan_signature"}
    text, page = ((out / f"benchmark.{ending}").read_text(encoding="utf-8") for ending in ("md", "html"))
    auc = figures["tables"]["dataset, test"]["all"]["logit"]["auc"]
    for written in (text, page):
        assert "zoovet bench x --out y" in written
        assert "One image set left out: other reference images" in written
        assert f"{auc:.3f} (" in written
        assert "23 networks of 12 bases" in written
    assert "| odd/set\\|of digits |" in text
    assert "<svg" in page


def test_the_card_is_made_of_the_figures(finished: tuple[Path, list[str]], tmp_path: Path) -> None:
    file = shipped.stranger_detector()
    assert file is not None
    assert ship([str(file), "--models", str(tmp_path), "--figures", str(finished[0] / "results.json")]) == 0
    card = (tmp_path / "strangers" / shipped.CARD_NAME).read_text(encoding="utf-8")
    assert "| one image set | test | 8 |" in card


def test_the_command_writes_the_tables_of_what_is_there(
    config: StrangerBenchmarkConfig,
    finished: tuple[Path, list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, out = tmp_path / "bench.yaml", tmp_path / "out"
    write_config(config, file)
    shutil.copytree(finished[0], out)
    (out / "benchmark.md").unlink()
    assert main(["bench", str(file), "--out", str(out), "--tables-only", "--rivals", "[]"]) == 0
    printed = capsys.readouterr()
    assert "detector for strangers, normal" not in printed.out  # a row of the table beside rivals
    assert printed.out.splitlines()[-1] == str(out / "benchmark.html")
    assert (out / "benchmark.md").read_text(encoding="utf-8") in printed.out
    for words, said in (
        (("--kind", "stranger"), "kind 'stranger' is unknown; did you mean 'strangers'"),
        (("--rivals", "[pixels]"), "rivals has the unknown entry 'pixels'; did you mean 'pixel'"),
        (("--kind", "trojan"), "unknown key 'images_per_class'"),
    ):
        assert main(["bench", str(file), "--out", str(out), *words]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert said in error


def test_nothing_and_damage_are_said(
    config: StrangerBenchmarkConfig, finished: tuple[Path, list[str]], tmp_path: Path
) -> None:
    zoo, out = opened_park(config), tmp_path / "out"
    with pytest.raises(ZoovetError, match="holds no results of this benchmark yet; run it without --tables-only"):
        StrangerResults.read(config, out, zoo)
    shutil.copytree(finished[0], out)
    path = next((out / "left_out").rglob("digits.2-labelled.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ZoovetError, match=r"digits\.2-labelled\.parquet is damaged; remove it"):
        StrangerResults.read(config, out, zoo)
