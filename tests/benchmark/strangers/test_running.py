"""A benchmark of strangers does each job once, goes on after an interruption, and says what it cannot work with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from zoovet.benchmark.strangers import OtherImages, StrangerBenchmarkConfig, run_stranger_benchmark, work
from zoovet.benchmark.strangers.work import LeftOutJob
from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.rivals.single_network import TrojanSignature
from zoovet.tasks.strangers.examined import Examined
from zoovet.tasks.strangers.training import LeftOut
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo

ODD = "odd/set|of digits"


def run(config: StrangerBenchmarkConfig, out: Path, tell: Callable[[str], None] = lambda _: None) -> None:
    run_stranger_benchmark(config, out, data_root=None, tell=tell)


def results(out: Path) -> dict[str, Any]:
    """All rows of all files of results, but for the seconds."""
    found = {}
    for path in sorted([*out.rglob("left_out/**/*.parquet"), *out.rglob("rivals/*.parquet")]):
        rows = [{**row, "seconds": 0.0} for row in pq.read_table(path).to_pylist()]
        found[str(path.relative_to(out))] = rows
    return found


def test_each_job_is_done_once(config: StrangerBenchmarkConfig, finished: tuple[Path, list[str]]) -> None:
    out, told = finished
    assert len(told) == 12 + 4 + 4 + 2
    assert told[0].partition(" (")[0] == "1 of 22: evidence of base 0, images 2-labelled"
    assert told[15].partition(" (")[0] == "16 of 22: evidence of base 11, images 1-unlabelled"
    assert told[16].partition(" (")[0] == "17 of 22: rivals on base 8"
    assert told[-1] == f"22 of 22: readers without the dataset {ODD}, effort normal"
    again: list[str] = []
    run(config, out, again.append)
    assert again == []
    rows = pq.read_table(out / "networks.parquet").to_pylist()
    assert "00001-trojaned" not in {row["network_id"] for row in rows}  # its attack did not work
    own = [row for row in rows if row["images"] == "2-labelled"]
    assert len({row["network_id"] for row in own}) == len(own) == 23
    assert {row["asked"] for row in rows if row["images"] == "1-unlabelled"} == {"test"}
    assert {row["kind"] for row in own} == {"digits", ODD}
    for row in own:
        assert row["target"] == (row["base_id"] % 10 if row["trojaned"] else -1)
        assert (row["target_named"] is None) == (not row["trojaned"])
    rivals = pq.read_table(out / "rivals.parquet").to_pylist()
    assert sorted(row["network_id"] for row in rivals) == sorted(
        row["network_id"] for row in own if row["asked"] == "test"
    )


@pytest.mark.parametrize("stop", [14, 21])
def test_an_interrupted_benchmark_goes_on(
    stop: int,
    config: StrangerBenchmarkConfig,
    finished: tuple[Path, list[str]],
    played: object,
    tmp_path: Path,
) -> None:
    def told(text: str) -> None:
        if text.startswith(f"{stop} of "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "out", told)
    rest: list[str] = []
    run(config, tmp_path / "out", rest.append)
    assert len(rest) == 22 - stop
    assert results(tmp_path / "out") == results(finished[0])


def test_more_is_measured_beside_what_is_there(
    config: StrangerBenchmarkConfig, finished: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished[0], out)
    job = LeftOutJob("normal", "dataset", ODD, ())
    job.path(out, "1-unlabelled").unlink()
    told: list[str] = []
    monkeypatch.setattr(work, "single_network_test", lambda *_: TrojanSignature())  # as quick as any
    more = replace(config, rivals=("free_eagle", *config.rivals), efforts=("normal", "quick"))
    run(more, out, told.append)
    readers = "readers without the dataset"
    assert [line.partition(": ")[2].partition(" (")[0] for line in told] == [
        *(f"rivals on base {base}" for base in range(8, 12)),
        f"{readers} {ODD}, effort normal",
        f"{readers} digits, effort quick",
        f"{readers} {ODD}, effort quick",
    ]
    before, after = results(finished[0]), results(out)
    assert {name: rows for name, rows in after.items() if name.startswith("left_out/normal")} == {
        name: rows for name, rows in before.items() if name.startswith("left_out")
    }
    assert {row["test"] for row in after["rivals/00008.parquet"]} == {"trojan_signature", "free_eagle"}


def test_no_training_sees_what_it_is_asked_about(
    config: StrangerBenchmarkConfig, finished: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[Sequence[Examined], Sequence[Examined]]] = []

    def watched(known: Sequence[Examined], asked: Sequence[Examined], *_: object, **__: object) -> LeftOut:
        seen.append((known, asked))
        none = torch.zeros(len(asked))
        return LeftOut(list(asked), none, none.long(), none)

    monkeypatch.setattr(work, "left_out", watched)
    folders = {"evidence_folder": finished[0] / "evidence" / "2-labelled"}
    others = (replace(config.other_images[0], evidence_folder=finished[0] / "evidence" / "1-unlabelled"),)
    told: list[str] = []
    run(replace(config, **folders, other_images=others, rivals=()), tmp_path / "out", told.append)
    assert len(told) == 2  # evidence is there already
    for kind, (known, asked) in zip(("digits", ODD), seen, strict=True):
        assert {row.dataset for row in asked} == {kind}
        assert kind not in {row.dataset for row in known}
        assert "test" not in {row.split for row in known}
        assert len(known) == (7 if kind == "digits" else 8)  # one trojaned one of the odd set has no ASR
        assert len(asked) == (12 if kind == "digits" else 11) + 4


def test_which_images_are_asked_about_may_change_in_the_same_folder(
    config: StrangerBenchmarkConfig, finished: tuple[Path, list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished[0], out)
    told: list[str] = []
    run(replace(config, other_images=()), out, told.append)
    run(config, out, told.append)
    assert told == []
    with pytest.raises(ZoovetError, match=r"another training\.num_steps: 3 there, 7 now"):
        run(replace(config, training=replace(config.training, num_steps=7)), out)


def test_rivals_are_given_the_images_that_evidence_rests_on(
    config: StrangerBenchmarkConfig, played: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[Images] = []

    def watched(zoo: Zoo, images: dict[str, Images], *_: object, reference: Any, **__: object) -> None:
        (own,) = images.values()
        given.append(reference.of(own))

    monkeypatch.setattr(work, "score_networks", watched)
    only = replace(config, other_images=())
    run(only, tmp_path / "out")
    shown = played.shown[-8::2]  # of the test bases, which are the last ones
    for (pixels, labels), images in zip(shown, given, strict=True):
        assert torch.equal(pixels, images.pixels)
        assert torch.equal(labels, images.required_labels)
        assert len(images) == 20


def test_what_cannot_be_measured_is_said_before_anything_is_done(
    config: StrangerBenchmarkConfig, finished: tuple[Path, list[str]], park: Path, write_park: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def refused(other: StrangerBenchmarkConfig, place: Path = out) -> str:
        with pytest.raises(ZoovetError) as caught:
            run(other, place)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "is not a zoo: it has no zoo.json" in refused(replace(config, zoo=tmp_path / "nowhere"))
    one_set = write_park(tmp_path / "one", num_sets=1)
    assert "has only one dataset (digits); leaving one out needs two: take dataset out of left_out" in refused(
        replace(config, zoo=one_set)
    )
    untested = replace(config, zoo=write_park(tmp_path / "untested", test_bases=0))
    assert "has no test networks yet, which rivals are for; give --rivals '[]'" in refused(untested)
    strict = replace(config, min_asr=0.95)
    assert "without the dataset digits the park" in (said := refused(strict))
    assert "has no trojaned training networks (of an ASR of at least 0.95)" in said
    evidence = finished[0] / "evidence" / "2-labelled"
    other = replace(config, images_per_class=3, evidence_folder=evidence)
    assert "holds evidence that was sought otherwise" in refused(other)
    info = ZooInfo.read(one_set)
    replace(info, recipe={"kind": "trojan", "dataset": "digits"}).write(one_set)
    assert "is a zoo of kind 'trojan', but one of kind 'park' is needed" in refused(replace(config, zoo=one_set))
    assert not out.exists()
    with pytest.raises(ZoovetError, match="workers must be at least 1, got 0"):
        run_stranger_benchmark(config, out, data_root=None, tell=print, workers=0)


def test_a_folder_holds_one_benchmark(
    config: StrangerBenchmarkConfig, finished: tuple[Path, list[str]], write_park: Any, tmp_path: Path
) -> None:
    out = finished[0]
    for other, said in (
        (replace(config, min_asr=0.4), r"holds a benchmark with another min_asr: 0\.5 there, 0\.4 now"),
        (replace(config, rival_effort="paper", rivals=()), "holds a benchmark with another rival_effort"),
        (
            replace(config, zoo=write_park(tmp_path / "zoo", test_bases=3)),
            "holds a benchmark on another park: 1 shards there, 1 now, or others; give another --out",
        ),
    ):
        with pytest.raises(ZoovetError, match=said):
            run(other, out)
    trojan = tmp_path / "trojan"
    trojan.mkdir()
    (trojan / "benchmark.yaml").write_text("kind: trojan\nzoos: [a]\n")
    with pytest.raises(ZoovetError, match="holds a benchmark with another kind: 'trojan' there, 'strangers' now"):
        run(config, trojan)
    assert json.loads((out / "origin.json").read_text())["shards"] == [ZooInfo.read(config.zoo).shards[0].sha256]
    (trojan / "benchmark.yaml").unlink()
    (trojan / "origin.json").write_text("{")
    with pytest.raises(ZoovetError, match=r"origin\.json .*; give another --out"):
        run(config, trojan)


def test_kinds_of_any_name_have_files_of_their_own(tmp_path: Path) -> None:
    names = ("a/b", "a%2Fb", "..", "x" * 300, "x" * 301, "a b", "ä")
    paths = {LeftOutJob("normal", "dataset", name, ()).path(tmp_path, "2-labelled") for name in names}
    assert len(paths) == len(names)
    assert {path.parent for path in paths} == {tmp_path / "left_out" / "normal" / "dataset"}
    assert max(len(path.name) for path in paths) < 200


def test_other_images_are_other_ones(config: StrangerBenchmarkConfig) -> None:
    assert list(config.by_images) == ["2-labelled", "1-unlabelled"]
    assert config.by_images["1-unlabelled"].evidence == config.evidence
    with pytest.raises(ZoovetError, match="from the readers' own, got 2-labelled twice"):
        replace(config, other_images=(OtherImages(images_per_class=2),))
