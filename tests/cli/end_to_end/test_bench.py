"""zoovet bench as a user calls it: in several processes, again where it is done, and on bad input."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from zoovet.cli.main import main

RunZoovet = Callable[..., subprocess.CompletedProcess[str]]

BENCHMARK = """
zoos: [{zoo}]
parts: [seen, repair]
seeds: [0]
detectors: [statnn, sorted_weights]
repairers: [none, clp]
min_asr: 0.3
num_images: 50
"""


@pytest.fixture(scope="module")
def config(place: Path) -> Path:
    path = place / "bench.yaml"
    path.write_text(BENCHMARK.format(zoo=place / "zoo"), encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_benchmark_in_two_processes_and_again(
    place: Path,
    config: Path,
    run_zoovet: RunZoovet,
    capsys: pytest.CaptureFixture[str],
    refused: Callable[..., str],
) -> None:
    out = place / "bench"
    done = run_zoovet("bench", config, "--out", out, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(" of 5: ") == 5
    assert "1 of 5: choice of settings of clp on zoo" in done.stderr
    assert "channel Lipschitzness (CLP): threshold" in done.stdout
    assert "| StatNN |" in done.stdout
    assert done.stdout.splitlines()[-1] == str(out / "benchmark.html")
    assert "data:image/png" in (out / "benchmark.html").read_text(encoding="utf-8")
    block = json.loads((out / "results.json").read_text(encoding="utf-8"))["trojan"]["digits"]
    assert block["detection_seen"].keys() == {"statnn", "sorted_weights", "num_test", "command"}
    assert block["repair"]["none"]["asr"] >= block["repair"]["clp"]["asr"] - 1
    capsys.readouterr()
    assert main(["bench", str(config), "--out", str(out), "--tables-only"]) == 0
    again = capsys.readouterr()
    assert again.err == ""
    assert again.out.partition("## ")[2] == done.stdout.partition("## ")[2]
    other = refused("bench", config, "--out", out, "--num_images", "20")
    assert "holds a benchmark with another num_images: 50 there, 20 now" in other


def test_bad_input(config: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    bench = ["bench", config, "--out", tmp_path / "out"]
    assert "detectors has the unknown entry 'statn'; did you mean 'statnn'" in refused(*bench, "--detectors", "[statn]")
    assert "has attacks of 1 family; leaving one out needs two" in refused(*bench, "--parts", "[unseen]")
    sizes = refused(*bench, "--parts", "[sizes]", "--sizes", "[400]")
    assert "training bases, but sizes asks for 400" in sizes
    assert "no zoo" in refused(*bench, "--zoos", f"[{tmp_path / 'nowhere'}]")
