"""``zoovet import`` on the command line: what it says, and what stays after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from zoovet.cli.main import main
from zoovet.networks import scaling_preset
from zoovet.zoo import Zoo
from zoovet.zoo.importers import LAYOUTS
from zoovet.zoo.importers.writer import import_zoo

NUM_NETWORKS = 24


@pytest.fixture
def mnist_inr(tmp_path: Path) -> Path:
    """A small copy of the published layout."""
    root, generator = tmp_path / "mnist-inrs", torch.Generator().manual_seed(0)
    for image in range(NUM_NETWORKS):
        folder = root / f"mnist_png_{'training' if image < 20 else 'testing'}_{image % 10}_{image}" / "checkpoints"
        folder.mkdir(parents=True)
        state = {}
        for layer, (num_in, num_out) in enumerate(((2, 32), (32, 32), (32, 1))):
            state[f"seq.{layer}.weight"] = torch.randn(num_out, num_in, generator=generator)
            state[f"seq.{layer}.bias"] = torch.randn(num_out, generator=generator)
        torch.save(state, folder / "model_final.pth")
    return root


def test_it_says_what_there_is(mnist_inr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "mnist-inr", str(mnist_inr), "--out", str(tmp_path / "zoo"), "--seed", "3"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        f"{tmp_path / 'zoo'}: 24 networks (18 train, 2 validation, 4 test)",
        "  24 networks; the published dataset has 70,000",
    ]
    assert "importing  24/24 networks" in shown.err or "importing  0/24 networks" in shown.err
    assert Zoo.open(tmp_path / "zoo").recipe["split"]["seed"] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mnist-imr", "a"], "error: the layout 'mnist-imr' is unknown; did you mean 'mnist-inr'"),
        (
            ["mnist-inr", "nowhere"],
            "error: nowhere does not exist or is no folder; give the folder of the MNIST INRs. The",
        ),
        (["fmnist-inr", "."], "error: . lacks the file splits.json of the layout fmnist-inr. The dataset: fmnist_inrs"),
        (
            ["mnist-inr", ".", "--copies", "2"],
            "error: --copies means nothing for mnist-inr, which takes --split-file and --seed",
        ),
        (["mnist-inr", ".", "--scaling", "unit"], "error: --scaling means nothing for mnist-inr"),
        (["folder", ".", "--column", "poisoned"], "error: argument --column: must be OURS=THEIRS, got 'poisoned'"),
        (["folder", ".", "--table", "none.csv"], "error: there is no file none.csv"),
        (["cifar-inr", ".", "--copies", "-1"], "error: argument --copies: must be an integer of at least 0, got '-1'"),
        (["cifar-inr", ".", "--seeds", "1"], "error: unknown option --seeds"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["import", *words, "--out", "zoo"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(message)
    assert shown.err.count("\n") == 1
    assert not (tmp_path / "zoo").exists()


def test_a_folder_beside_a_table_and_what_it_does_not_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nets").mkdir()
    for number in range(3):
        layers = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
        torch.save(layers.state_dict(), tmp_path / "nets" / f"n{number}.pt")
    (tmp_path / "labels.csv").write_text("file,bad\nn0.pt,1\nn1.pt,0\nn2.pt,\n")
    words = ["--table", str(tmp_path / "labels.csv"), "--column", "poisoned=bad", "--dataset", "rings"]
    words += ["--architecture", "mlp:activation=relu", "--input-shape", "1,2,2", "--scaling", "unit"]
    assert main(["import", "folder", str(tmp_path / "nets"), *words, "--out", str(tmp_path / "zoo")]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].endswith("; 1 trojaned; of 1 it is not known whether they are trojaned")
    assert said.splitlines()[1] == "  3 networks of 1 graph: 1 trojaned, 1 healthy, 1 unknown"
    zoo = Zoo.open(tmp_path / "zoo")
    assert list(zoo.labelled) == [True, True, False]
    assert zoo.graph.input_scaling == scaling_preset("unit")
    (tmp_path / "detection.yaml").write_text(f"task: detection\ndata: {{zoo: {tmp_path / 'zoo'}}}\n")
    assert main(["train", str(tmp_path / "detection.yaml"), "--out", str(tmp_path / "run")]) == 2
    assert "does not say of 1 of 3 networks whether they are trojaned, n2.pt first" in capsys.readouterr().err


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_help_says_where_every_dataset_comes_from(layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"  {layout} " in shown
    for word in LAYOUTS[layout].address.split():
        if word.startswith("https://"):
            assert word.rstrip(",;") in shown


def test_a_killed_import_is_finished_by_the_same_command(
    mnist_inr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "zoovet", "import", "mnist-inr", str(mnist_inr), "--out"]
    slow = (
        "import sys, time; from zoovet.zoo.importers import siren_networks as s, writer as w; "
        "from zoovet.cli.main import main; read = s._read_siren; "
        "w.import_zoo.__kwdefaults__['shard_bytes'] = 5 * 4740; "
        "s._read_siren = lambda *a: (time.sleep(0.2), read(*a))[1]; sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen([sys.executable, "-c", slow, *command[3:], str(tmp_path / "killed")])
    while not (tmp_path / "killed" / "shard-00001.parquet").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    monkeypatch.setitem(import_zoo.__kwdefaults__, "shard_bytes", 5 * 4740)
    for name in ("killed", "whole"):
        assert main([*command[3:], str(tmp_path / name)]) == 0
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "killed" / path.name).read_bytes()
    assert len(Zoo.open(tmp_path / "killed", verify=True)) == NUM_NETWORKS
