"""How an input scaling is given to ``scan`` and ``repair``, and what they say where nobody gives it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zoovet.cli.arguments import VerbParser, parse_verb
from zoovet.cli.main import main, verb_module
from zoovet.cli.reading import read_options_of
from zoovet.errors import ZoovetError
from zoovet.evidence import InversionConfig
from zoovet.metanets import ScaleGMNConfig
from zoovet.networks import SCALING_PRESETS, ZOO_SCALING, InputScaling, Networks, small_cnn
from zoovet.readers import load_networks, save_networks
from zoovet.tasks import Detector, TrainedRepairer
from zoovet.tasks.checkpoints import save_checkpoint
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_to_json
from zoovet.tasks.repairer import build_editor

GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(3, 3))
UNIT = SCALING_PRESETS["unit"]
READS: dict[str, Any] = {
    "width": 8,
    "num_layers": 1,
    "inversion": InversionConfig(patch_size=3, num_steps=1),
    "input_shape": (1, 8, 8),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A detector and a repairer that nobody trained, which run networks."""
    folder = tmp_path_factory.mktemp("runs")
    writes = {"output": "weights", "out_scale": 1.0}
    configs = {"detector": ScaleGMNConfig(**READS), "repairer": ScaleGMNConfig(**(READS | writes))}
    modules = {
        "detector": build_metanetwork(configs["detector"], 0, "detector"),
        "repairer": build_editor(configs["repairer"], None, None, 0),
    }
    for kind, config in configs.items():
        facts = {"metanetwork": metanetwork_to_json(config), "gate": None, "specs": [GRAPH.to_json()], "threshold": 0.5}
        save_checkpoint(folder / f"{kind}.safetensors", kind, modules[kind], facts)
    return {kind: folder / f"{kind}.safetensors" for kind in configs}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, InputScaling | None], Path]:
    def written(name: str, scaling: InputScaling | None) -> Path:
        flat = torch.randn(1, GRAPH.num_parameters, generator=torch.Generator().manual_seed(1))
        save_networks(Networks.from_flat(GRAPH, flat).with_scaling(scaling), tmp_path / f"{name}.safetensors")
        return tmp_path / f"{name}.safetensors"

    return written


@pytest.fixture
def command(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(verb: str, *words: str | Path) -> tuple[int, str, str]:
        kind = "detector" if verb == "scan" else "repairer"
        capsys.readouterr()
        status = main([verb, *map(str, words), f"--{kind}", str(runs[kind])])
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], None),
        (["--scaling", "imagenet"], SCALING_PRESETS["imagenet"]),
        (["--input-range", "0,1"], UNIT),
        (["--input-range", "-1,1"], ZOO_SCALING),
        (["--input-range=-1,1"], ZOO_SCALING),
        (["--mean", "0.286", "--std", "0.353"], InputScaling(mean=(0.286,), deviation=(0.353,))),
        (["--mean", "-.5,.5", "--input-range", "0,255"], InputScaling(high=255.0, mean=(-0.5, 0.5))),
    ],
)
@pytest.mark.parametrize("verb", ["scan", "repair"])
def test_an_input_scaling_is_given_by_name_or_in_numbers(
    verb: str, words: list[str], expected: InputScaling | None
) -> None:
    parser = VerbParser(verb, verb_module(verb))
    more = ["--out", "x.safetensors"] if verb == "repair" else []
    assert read_options_of(parse_verb(parser, ["file", *words, *more])).scaling == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scaling", "unti"], "the input scaling 'unti' is unknown; did you mean 'unit'?"),
        (["--scaling", "unit", "--std", "1"], "--scaling names the whole input scaling: leave out --std"),
        (["--input-range", "0,1,2"], "--input-range takes two numbers, LOW,HIGH, got 3"),
        (["--input-range", "1,0"], "range must be LOW,HIGH with LOW < HIGH, got 1,0"),
        (["--mean", "a"], "argument --mean: must be numbers with commas between them, got 'a'"),
        (["--mean", "nan"], "must be numbers with commas between them, got 'nan'"),
        (["--std", "0"], "deviation must be at least 1e-06, got 0"),
        (["--std", "-1"], "deviation must be at least 1e-06, got -1"),
    ],
)
def test_what_is_no_scaling_is_refused(
    words: list[str], message: str, write: Callable[..., Path], command: Callable[..., tuple[int, str, str]]
) -> None:
    status, _, errors = command("scan", write("one", None), *words)
    assert status == 2
    assert message in errors
    assert errors.count("\n") == 1


def test_the_help_names_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("scan", "repair"):
        main([verb, "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        assert all(f" {name}" in shown for name in SCALING_PRESETS)
        assert "zoovet's own networks read, is assumed of those that a shipped model knows, and a note says so" in shown


def test_scan_says_what_it_assumed(write: Callable[..., Path], command: Callable[..., tuple[int, str, str]]) -> None:
    silent, told = write("silent", None), write("told", UNIT)
    _, shown, notes = command("scan", silent, told, "--json")
    assert (
        f"note: {silent}: input scaling not known; assumed images scaled to [-1, 1]; if that is wrong, so is what is "
        "said: give --input-range LOW,HIGH, --mean and --std, or --scaling NAME\n"
    ) in notes
    assert str(told) not in notes
    first, second = json.loads(shown)["verdicts"]
    assert (first["scaling_is_assumed"], second["scaling_is_assumed"]) == (True, False)
    assert InputScaling.from_json(first["input_scaling"]) == ZOO_SCALING
    assert InputScaling.from_json(second["input_scaling"]) == UNIT
    assert first["score"] != second["score"]
    _, shown, notes = command("scan", silent, "--scaling", "unit", "--json")
    assert "input scaling" not in notes
    assert json.loads(shown)["verdicts"][0]["score"] == second["score"]


def test_one_note_for_many_files(write: Callable[..., Path], command: Callable[..., tuple[int, str, str]]) -> None:
    files = [write(f"file-{index}", None) for index in range(5)]
    _, _, notes = command("scan", *files)
    (note,) = [line for line in notes.splitlines() if "input scaling" in line]
    assert f"{files[0]}, {files[1]}, {files[2]} and 2 more: input scaling not known" in note


def test_a_scaling_other_than_the_files_is_an_error(
    write: Callable[..., Path], command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    told, silent = write("told", UNIT), write("silent", None)
    status, shown, errors = command("scan", told, silent, "--scaling", "symmetric", "--json")
    assert status == 2
    assert [verdict["file"] for verdict in json.loads(shown)["verdicts"]] == [str(silent)]
    assert (
        f"error: {told} says that it reads images scaled to [0, 1] (unit), but [-1, 1] (symmetric) is given as its "
        f"input scaling; leave that out\n"
    ) in errors
    assert command("scan", told, "--input-range", "0,1")[0] in (0, 1)
    status, _, errors = command("repair", told, "--scaling", "byte", "--out", tmp_path / "out.safetensors")
    assert status == 2
    assert "says that it reads images scaled to [0, 1] (unit)" in errors
    assert not (tmp_path / "out.safetensors").exists()
    _, _, errors = command("scan", silent, "--scaling", "imagenet")
    assert f"error: {silent}: the input scaling [0, 1] minus (0.485, 0.456, 0.406)" in errors
    assert "is for 3 channels, but images have 1" in errors


def test_repair_keeps_to_the_scaling_and_writes_it(
    write: Callable[..., Path], command: Callable[..., tuple[int, str, str]], tmp_path: Path, runs: dict[str, Path]
) -> None:
    silent, out = write("silent", None), tmp_path / "out.safetensors"
    status, _, notes = command("repair", silent, "--out", out)
    assert status == 0
    assert f"note: {silent}: input scaling not known; assumed images scaled to [-1, 1]" in notes
    assumed = load_networks(out)
    assert assumed.graph.input_scaling is None
    status, _, notes = command("repair", silent, "--scaling", "unit", "--out", out, "--force")
    assert status == 0
    assert "input scaling" not in notes
    repaired = load_networks(out)
    assert repaired.graph.input_scaling == UNIT
    assert not torch.equal(repaired.flat(), assumed.flat())
    expected = TrainedRepairer.load(runs["repairer"]).repair(load_networks(silent, scaling=UNIT))
    assert torch.equal(repaired.flat(), expected.flat())


def test_an_unknown_network_of_an_assumed_scaling_may_be_so_for_that(
    write: Callable[..., Path], command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Distribution:
        """Finds everything unlike its training networks."""

        def score(self, networks: list[Networks]) -> torch.Tensor:
            return torch.zeros(sum(map(len, networks)))

        def is_out(self, networks: list[Networks]) -> torch.Tensor:
            return torch.ones(sum(map(len, networks)), dtype=torch.bool)

    monkeypatch.setattr("zoovet.tasks.detector.distribution_of", lambda _: Distribution())
    monkeypatch.setattr("zoovet.tasks.repairer.distribution_of", lambda _: Distribution())
    silent, told = write("silent", None), write("told", UNIT)
    _, shown, _ = command("scan", silent, told, "--json")
    first, second = (verdict["reason"] for verdict in json.loads(shown)["verdicts"])
    why = "its input scaling is not known (assumed images scaled to [-1, 1]), which may be the reason"
    assert first == f"{second}; {why}"
    for file, said in ((silent, True), (told, False)):
        status, _, errors = command("repair", file, "--out", file.with_name("out.safetensors"))
        assert status == 2
        assert ("its input scaling is not known" in errors) == said


def test_load_networks_takes_and_checks_a_scaling(write: Callable[..., Path]) -> None:
    silent, told = write("silent", None), write("told", UNIT)
    assert load_networks(silent).graph.input_scaling is None
    assert load_networks(silent, scaling=UNIT).graph.input_scaling == UNIT
    assert load_networks(silent, scaling="unit").graph.input_scaling == UNIT
    with pytest.raises(ZoovetError, match="'unti' is unknown; did you mean 'unit'"):
        load_networks(silent, scaling="unti")
    assert load_networks(told, GRAPH).graph.input_scaling == UNIT
    said = Networks.from_flat(GRAPH, torch.zeros(1, GRAPH.num_parameters)).with_scaling(ZOO_SCALING).graph
    assert load_networks(silent, said).graph.input_scaling == ZOO_SCALING
    with pytest.raises(ZoovetError, match=r"\[0, 1\] \(unit\), but \[-1, 1\] \(symmetric\) is given"):
        load_networks(told, said)
    with pytest.raises(ZoovetError, match="another input scaling than those before it"):
        load_networks([silent, told])
    assert load_networks([silent, told], scaling=UNIT).graph.input_scaling == UNIT


def test_a_state_dict_reads_what_is_said_not_what_a_detector_reads(
    runs: dict[str, Path], tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    network = Networks.from_flat(GRAPH, torch.linspace(-1, 1, GRAPH.num_parameters)[None])
    state = {}
    for index, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        state |= {f"{index}.weight": weight[0], f"{index}.bias": bias[0]}
    torch.save(state, tmp_path / "plain.pt")
    _, shown, notes = command("scan", tmp_path / "plain.pt", "--json")
    assert "input scaling not known" in notes
    assert json.loads(shown)["verdicts"][0]["score"] == pytest.approx(
        float(Detector.load(runs["detector"]).score(network)), abs=1e-6
    )
