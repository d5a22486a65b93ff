"""One file's failure, foreseen or not, is that file's alone; networks are scored as if alone, whatever their batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import zoovet
from zoovet.errors import ZoovetError
from zoovet.jobs import process_workers
from zoovet.networks import Graph, Networks, small_cnn, to_module
from zoovet.readers import load_networks, save_networks
from zoovet.tasks import Detector
from zoovet.vet import FileResult, ReadOptions, Scanner, batches, candidates_for, scanner
from zoovet.vet.verdicts import Finding

NetworksOf = Callable[..., Networks]


@pytest.fixture
def detector(tmp_path: Path, relu_graph: Graph, write_detector: Callable[..., Path]) -> Path:
    tanh = small_cnn("tanh", input_shape=(1, 8, 8), channels=(4, 4))
    return write_detector(tmp_path / "detector.safetensors", [relu_graph, tanh])


@pytest.fixture
def files(tmp_path: Path, relu_graph: Graph, drawn: NetworksOf) -> list[Path]:
    """Files of one, seven and two networks, the last of another graph in double precision."""
    tanh = small_cnn("tanh", input_shape=(1, 8, 8), channels=(4, 4))
    contents = [drawn(relu_graph, 1, 1), drawn(relu_graph, 7, 2), drawn(tanh, 2, 3).to(dtype=torch.float64)]
    paths = [tmp_path / f"{index}.safetensors" for index in range(len(contents))]
    for path, networks in zip(paths, contents, strict=True):
        save_networks(networks, path)
    return paths


def results_of(detector: Path, files: Sequence[Path], **options: Any) -> list[FileResult]:
    results = Scanner(candidates_for("detector", given=detector), **options).scan_files(files)
    return sorted(results, key=lambda result: result.place)


def test_networks_are_scored_as_alone_whatever_batch_they_are_in(detector: Path, files: list[Path]) -> None:
    for size in (1, 3, 64):
        results = results_of(detector, files, batch_size=size)
        assert [(result.file, len(result.verdicts)) for result in results] == [
            (str(path), count) for path, count in zip(files, (1, 7, 2), strict=True)
        ]
        for path, result in zip(files, results, strict=True):
            assert result.failure is None

            alone = [float(Detector.load(detector).score(network)) for network in load_networks(path)]
            assert [verdict.probability for verdict in result.verdicts] == pytest.approx(alone, abs=1e-6)
            assert [verdict.network for verdict in result.verdicts] == list(range(len(alone)))


@pytest.mark.parametrize("raised", [RecursionError("too deep"), MemoryError(), KeyError("x\x1b[2J"), OSError(5, "I/O")])
def test_whatever_is_raised_over_one_file_the_others_are_scanned(
    raised: Exception, detector: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    true_load = scanner.load_suspects

    def load(path: Path, *rest: Any) -> Any:
        if path == files[1]:
            raise raised
        return true_load(path, *rest)

    monkeypatch.setattr(scanner, "load_suspects", load)
    first, second, third = results_of(detector, files)
    assert (len(first.verdicts), len(second.verdicts), len(third.verdicts)) == (1, 0, 2)
    assert first.failure is None
    assert third.failure is None
    assert second.failure is not None
    assert second.failure.message.startswith(f"{files[1]}: ")
    assert second.failure.message.isprintable()
    if not isinstance(raised, MemoryError):
        assert f"did not foresee, {type(raised).__name__}: " in second.failure.message
        assert "ZOOVET_TRACEBACK=1" in second.failure.message
    monkeypatch.setenv("ZOOVET_TRACEBACK", "1")
    (again,) = results_of(detector, files[1:2])
    assert again.failure is not None
    assert isinstance(raised, MemoryError) or "in load\n" in (again.failure.traceback or "")


def test_a_network_that_cannot_be_scored_takes_no_other_of_its_batch_with_it(
    detector: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {result.file: result for result in results_of(detector, files)}
    true_score, bad = Detector.score, {int(load_flat(files[1])[index].sum() * 1e6) for index in (2, 5)}

    def score(self: Detector, networks: Networks, **options: Any) -> torch.Tensor:
        if any(int(row.sum() * 1e6) in bad for row in networks.flat()):
            raise ZeroDivisionError("nobody knew")
        return true_score(self, networks, **options)

    monkeypatch.setattr(Detector, "score", score)
    first, second, third = results_of(detector, files)
    assert first == good[str(files[0])]
    assert third == good[str(files[2])]
    assert [verdict.network for verdict in second.verdicts] == [0, 1, 3, 4, 6]
    assert second.failure is not None
    assert second.failure.message.startswith(f"{files[1]}: network 2: an error that zoovet did not foresee, ZeroDiv")
    assert second.failure.message.endswith("(1 of its other networks failed too)")


def load_flat(path: Path) -> torch.Tensor:

    return load_networks(path).flat()


def test_a_score_that_is_no_number_is_unknown_with_its_reason(
    detector: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in (float("nan"), float("inf"), float("-inf")):
        monkeypatch.setattr(Detector, "score", lambda self, networks, value=value: torch.full((len(networks),), value))
        for result in results_of(detector, files):
            for verdict in result.verdicts:
                assert verdict.verdict == "unknown"
                assert verdict.probability is None
                assert verdict.reason == "its score is not a finite number"


def test_networks_in_memory_get_the_verdicts_of_their_file(detector: Path, files: list[Path]) -> None:

    one = Scanner(candidates_for("detector", given=detector), batch_size=3)
    (result,) = one.scan_files(files[1:2])
    assert one.scan_networks(load_networks(files[1]), str(files[1])) == list(result.verdicts)


def test_what_was_assumed_when_a_file_was_read_is_told(
    detector: Path, files: list[Path], tmp_path: Path, relu_graph: Graph, drawn: NetworksOf
) -> None:
    network = drawn(relu_graph)
    state = {f"conv{k}.weight": weight[0] for k, weight in enumerate(network.weights)}
    state |= {f"conv{k}.bias": bias[0] for k, bias in enumerate(network.biases)}
    torch.save({"net": state, "ema": {name: 2 * tensor for name, tensor in state.items()}}, tmp_path / "a.pt")
    results = results_of(detector, [files[0], tmp_path / "a.pt"], options=ReadOptions(activation="relu"))
    advice = "whoever loads an average of weights has another network; look at it too, in a file of its own"
    note = f"read is 'net'; beside it the file holds 'ema': {advice}"
    assert [result.notes for result in results] == [(), (note,)]
    (verdict,) = results[1].verdicts
    assert verdict.probability == pytest.approx(float(Detector.load(detector).score(network)), abs=1e-6)


def test_a_module_gets_the_verdict_of_its_file(detector: Path, files: list[Path]) -> None:
    (result,) = results_of(detector, files[:1])
    (expected,) = result.verdicts
    scan = Scanner(detector).scan
    module = to_module(load_networks(files[0]))
    verdict = scan(zoovet.from_module(module, (1, 8, 8), "symmetric"))
    assert verdict.probability == pytest.approx(expected.probability, abs=1e-6)
    assert (verdict.verdict, verdict.threshold, verdict.target) == (expected.verdict, 0.5, None)
    with pytest.warns(UserWarning, match=r"input scaling not known; assumed images scaled to \[-1, 1\]; .* scaling=…"):
        assumed = scan(zoovet.read(files[0]))
    assert assumed.scaling_is_assumed
    assert assumed.probability == expected.probability


def test_a_network_that_nobody_knows_is_unknown_with_one_reason(detector: Path) -> None:
    layer = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    for scaling, said in (("unit", "input scaling [0, 1] (unit)"), (None, "input scaling not known")):
        verdict = Scanner(detector).scan(zoovet.from_module(layer, (1, 8, 8), scaling))
        assert (verdict.verdict, verdict.probability, verdict.flagged, verdict.threshold) == ("unknown", *NOTHING)
        assert verdict.reason == (
            f"Sequential, 650 parameters, reads 1×8×8; {said}: the detector given does not know it"
        )
    runnable = zoovet.from_module(Sorted(), (1, 8, 8), "unit")
    assert runnable.graph is None
    assert Scanner(detector).scan(runnable).verdict == "unknown"


NOTHING = (None, False, None)


class Sorted(nn.Module):
    """A network that no graph can say."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1).sort(dim=1).values)


def test_the_scaling_is_found_on_images_that_are_given(
    tmp_path: Path, gray_reader: Networks, grays: Callable[..., zoovet.Images], write_detector: Callable[..., Path]
) -> None:
    scanner = Scanner(write_detector(tmp_path / "d.safetensors", [gray_reader.graph]))
    network = zoovet.from_module(to_module(gray_reader), (1, 8, 8))
    verdict = scanner.scan(network, grays())
    assert verdict.input_scaling == zoovet.InputScaling()
    assert not verdict.scaling_is_assumed
    assert verdict.notes[-1].startswith("input scaling found on 60 labelled images: [0, 1] (unit) gets 1.00 right")
    assert network.scaling is None


def test_what_is_no_network_or_does_not_fit_is_refused(detector: Path, files: list[Path]) -> None:
    networks = load_networks(files[0])
    network, scanner = zoovet.read(files[0], scaling="unit"), Scanner(detector)
    with pytest.raises(ZoovetError, match=r"zoovet\.from_module, got a Networks; scan_networks takes these"):
        scanner.scan(networks)
    with pytest.raises(ZoovetError, match=r"images must be zoovet\.Images, got a Tensor"):
        scanner.scan(network, torch.zeros(2, 8, 8))
    with pytest.raises(ZoovetError, match=r"the network reads images of 1×8×8 .*, these are 3×8×8"):
        scanner.scan(network, zoovet.Images.from_arrays(torch.zeros(2, 8, 8, 3, dtype=torch.uint8)))
    broken = to_module(networks)
    with torch.no_grad():
        next(broken.parameters())[0] = float("nan")
    with pytest.raises(ZoovetError, match="the network given: network 0 has NaN or infinite numbers"):
        scanner.scan(zoovet.from_module(broken, (1, 8, 8), "unit"))
    for options, message in (
        ({"threshold": 2.0}, "threshold must be from 0 to 1, got 2"),
        ({"model": "x"}, "a detector and a model are given, x: leave one of them out"),
    ):
        with pytest.raises(ZoovetError, match=message):
            Scanner(detector, **options)


def test_networks_of_a_file_may_read_differently_scaled_images(
    tmp_path: Path, gray_reader: Networks, grays: Callable[..., zoovet.Images], write_detector: Callable[..., Path]
) -> None:
    guessing = Networks.from_flat(gray_reader.graph, torch.zeros(1, gray_reader.graph.num_parameters))
    save_networks(Networks.concatenate([gray_reader, guessing, gray_reader]), tmp_path / "three.safetensors")
    path, options = write_detector(tmp_path / "d.safetensors", [gray_reader.graph]), ReadOptions(images=grays())
    (result,) = results_of(path, [tmp_path / "three.safetensors"], options=options, batch_size=2)
    assert [verdict.network for verdict in result.verdicts] == [0, 1, 2]
    assert [verdict.scaling_is_assumed for verdict in result.verdicts] == [False, True, False]
    assert result.notes == (
        "input scaling [0, 1] (unit) found on 60 labelled images for network 0, 2",
        "input scaling not found on 60 labelled images for network 1",
    )
    named = ReadOptions(architecture="small_cnn")
    (result,) = results_of(path, [tmp_path / "three.safetensors"], options=named)
    assert result.notes == ("it says itself what its network is; the architecture given was not used",)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [1, 2])
def test_files_that_no_detector_knows_go_to_the_detector_for_strangers(
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
    detector: Path,
    files: list[Path],
    tmp_path: Path,
    stamped: Callable[..., zoovet.Network],
    pictures: zoovet.Images,
    stranger_reader: Any,
) -> None:
    paths = [_saved(stamped(target), tmp_path / f"stamped-{target}.pt") for target in (3, None)]
    broken = tmp_path / "broken.pt"
    torch.save({name: one[0] * float("nan") for name, one in _parameters(stamped(3)).items()}, broken)
    own = tmp_path / "own.py"
    own.write_text(_OWN)
    options = ReadOptions(architecture=f"{own}:make", images=pictures, scaling=zoovet.InputScaling(low=-1.0))
    told: list[scanner.ScanProgress] = []
    monkeypatch.setattr(process_workers, "get_context", lambda _: get_context("fork"))  # a new one takes seconds
    monkeypatch.setattr(scanner, "may_travel", lambda _: True)  # the user's own would stay here
    one = Scanner(detector, options=options, strangers=stranger_reader, workers=workers)
    scanned = one.scan_files([*paths, broken, tmp_path / "no"], progress=told.append)
    results = {result.file: result for result in scanned}
    first, second = (results[str(path)].verdicts[0] for path in paths)
    assert (first.verdict, first.target, first.target_name, first.file) == ("trojaned", 3, "dog", str(paths[0]))
    assert (second.verdict, second.target) == ("healthy", None)
    assert not any(results[str(path)].failure for path in paths)
    assert results[str(broken)].failure is not None
    assert results[str(tmp_path / "no")].failure is not None
    assert any(": patches, " in step.sought and step.sought.startswith(f"{paths[0]}: 2 of ") for step in told)
    assert told[-1].num_networks == 2
    (without,) = Scanner(detector, options=options).scan_files(paths[:1])
    assert without.failure is not None
    assert without.failure.message.endswith("the detector given does not know it")


@pytest.mark.parametrize("whose", ["the user's reader", "the user's network"])
def test_classes_of_the_users_own_stay_in_this_process(
    whose: str,
    monkeypatch: pytest.MonkeyPatch,
    detector: Path,
    tmp_path: Path,
    stamped: Callable[..., zoovet.Network],
    pictures: zoovet.Images,
    stranger_reader: Any,
) -> None:
    paths = [_saved(stamped(target), tmp_path / f"stamped-{target}.pt") for target in (3, None)]
    own = tmp_path / "own.py"
    own.write_text(_OWN if whose == "the user's reader" else _OWN.replace(".relu())", ".relu().flip(1).flip(1))"))
    if whose == "the user's network":
        monkeypatch.setattr(scanner, "may_travel", lambda _: True)
    options = ReadOptions(architecture=f"{own}:make", images=pictures, scaling=zoovet.InputScaling(low=-1.0))
    one = Scanner(detector, options=options, strangers=stranger_reader, workers=2)
    first, second = one.scan_files(paths)
    assert [result.failure for result in (first, second)] == [None, None]
    assert [result.verdicts[0].verdict for result in (first, second)] == ["trojaned", "healthy"]


_OWN = """
from torch import nn
class Stamped(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside, self.outside = nn.Linear(144, 9), nn.Linear(9, 8, bias=False)
    def forward(self, images):
        return self.outside(self.inside(images.flatten(1)).relu())
def make():
    return Stamped()
"""


def _saved(network: zoovet.Network, path: Path) -> Path:
    torch.save({name: one[0] for name, one in _parameters(network).items()}, path)
    return path


def _parameters(network: zoovet.Network) -> dict[str, torch.Tensor]:
    assert network.networks is not None
    return dict(network.networks.parameters)


def test_networks_that_their_detector_finds_unlike_are_strangers_too(
    detector: Path, files: list[Path], stranger_reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of seven networks of a file two are unlike the training networks: these alone get another verdict."""
    good = {result.file: result for result in results_of(detector, files)}
    true_find = batches.find

    def find(own: Detector, networks: Networks) -> list[Finding]:
        sums = {round(float(row.sum()), 3) for row in load_flat(files[1])[[2, 5]]}
        return [
            replace(finding, is_unlike=round(float(row.sum()), 3) in sums)
            for finding, row in zip(true_find(own, networks), networks.flat(), strict=True)
        ]

    monkeypatch.setattr(batches, "find", find)
    options = ReadOptions(scaling=zoovet.InputScaling(low=-1.0))
    first, second, third = results_of(detector, files, options=options, strangers=stranger_reader)
    assert [verdict.network for verdict in second.verdicts] == list(range(7))
    rests_on = [verdict.rests_on for verdict in second.verdicts]
    assert rests_on == ["synthesized images" if index in (2, 5) else "weights" for index in range(7)]
    for index in (0, 1, 3, 4, 6):
        assert second.verdicts[index].probability == good[str(files[1])].verdicts[index].probability
    assert second.verdicts[2].digest != second.verdicts[5].digest
    assert (len(first.verdicts), len(third.verdicts)) == (1, 2)
