"""A benchmark runs every trial once, goes on after an interruption, and never trains on test bases."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import yaml

from zoovet.benchmark import BenchmarkConfig, benchmark_tables, run_benchmark
from zoovet.benchmark import detectors as detector_table
from zoovet.benchmark.detectors import DETECTORS
from zoovet.benchmark.figures import Scores, auc_difference, detection_figures, repair_differences, repair_figures
from zoovet.benchmark.page import write_benchmark
from zoovet.benchmark.repairers import REPAIRERS, RepairFitting
from zoovet.benchmark.table import Table
from zoovet.benchmark.tables import Bench
from zoovet.benchmark.trials import Trial, attacks_of, families_of, trained_on
from zoovet.benchmark.worker import InversionJob, counted_networks, repaired_networks, results_path
from zoovet.config import read_config, read_yaml
from zoovet.errors import ZoovetError
from zoovet.evaluation import DetectionResults, RepairResults
from zoovet.folder_lock import folder_lock
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo


@pytest.fixture(scope="module")
def finished(config: BenchmarkConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    out, told = tmp_path_factory.mktemp("bench") / "out", list[str]()
    run_benchmark(config, out, data_root=None, tell=told.append)
    return out, told


def test_every_trial_runs_once_and_a_finished_benchmark_runs_nothing(
    config: BenchmarkConfig, finished: tuple[Path, list[str]]
) -> None:
    out, told = finished
    detection = (2 + 1) * (1 + 3)  # two seeds of ScaleGMN, one of StatNN; on all, and with three families left out
    detection += 2 * 2  # on one size, of which each seed draws its own bases, two seeds of both
    repair = 1 + 2 + 1 + 1
    assert len(told) == 1 + 1 + detection + repair
    assert (
        told[0] == f"1 of {len(told)}: inversion of networks 0 to 35 of digits-trojan, for detection on digits-trojan"
    )
    assert told[1] == f"2 of {len(told)}: choice of settings of clp on digits-trojan"
    assert told[2] == f"3 of {len(told)}: scalegmn on digits-trojan, seed 0"
    assert InversionJob("detection", "digits-trojan", "digits-trojan", 0, 36).path(out).exists()
    again: list[str] = []
    run_benchmark(config, out, data_root=None, tell=again.append)
    assert again == []


def test_an_interrupted_benchmark_runs_what_is_missing(
    config: BenchmarkConfig, zoo: Zoo, finished: tuple[Path, list[str]]
) -> None:
    out, _ = finished
    path = results_path(out, Trial(zoo=zoo.path.name, model="statnn", seed=0, left_out="blend"), zoo.path.name)
    before = path.read_bytes()
    path.unlink()
    told: list[str] = []
    run_benchmark(config, out, data_root=None, tell=told.append)
    assert [line.partition(": ")[2] for line in told] == ["statnn on digits-trojan, seed 0, without blend"]
    assert path.read_bytes() == before


def test_no_trial_sees_test_bases_or_the_family_that_is_left_out(zoo: Zoo) -> None:
    test_bases = set(zoo.split("test").column("base_id"))
    name = zoo.path.name
    for trial in (
        Trial(zoo=name, model="statnn", seed=0),
        Trial(zoo=name, model="statnn", seed=0, left_out="blend"),
        Trial(zoo=name, model="statnn", seed=1, num_bases=4),
    ):
        seen = trained_on(trial, zoo)
        assert not test_bases & set(seen.column("base_id"))
        assert trial.left_out not in attacks_of(seen)
        assert set(seen.column("split")) == {"train", "validation"}
    assert len(set(seen.split("train").column("base_id"))) == 4
    assert len(seen.split("validation")) == len(zoo.split("validation"))
    smaller = trained_on(Trial(zoo=name, model="statnn", seed=1, num_bases=2), zoo).split("train")
    assert set(smaller.column("base_id")) < set(seen.split("train").column("base_id"))


def test_families_are_told_of_zoos_without_the_column_too(zoo: Zoo) -> None:
    assert families_of(zoo) == ("blend", "patch", "stripes")
    without = replace(zoo, facts={**zoo.facts, "attack": np.full(len(zoo), None)})
    np.testing.assert_array_equal(attacks_of(without), zoo.column("attack").astype(str))


def test_networks_whose_attack_failed_do_not_count(zoo: Zoo) -> None:
    strict = counted_networks(zoo, 0.5)
    asr, poisoned = strict.column("asr"), strict.column("poisoned")
    assert (asr[poisoned] >= 0.5).all()
    assert (~poisoned).sum() == (~zoo.split("test").column("poisoned")).sum()
    with pytest.raises(ZoovetError, match="0 trojaned ones with an ASR of at least 1"):
        counted_networks(zoo.select(zoo.column("asr") < 1), 1.0)


def test_the_bounds_of_repair(config: BenchmarkConfig, zoo: Zoo, finished: tuple[Path, list[str]]) -> None:
    out, _ = finished
    bench = Bench(config, out, {zoo.path.name: zoo})
    (nothing,) = bench.repairs(zoo.path.name, "none")
    (sibling,) = bench.repairs(zoo.path.name, "healthy_sibling")
    np.testing.assert_array_equal(nothing.asr_after, nothing.asr_before)
    test = repaired_networks(zoo, config, "healthy_sibling")
    place = {network: index for index, network in enumerate(test.column("network_id"))}
    siblings = test.sibling_places()
    for index in np.flatnonzero(sibling.poisoned):
        own = place[sibling.network_ids[index]]
        assert sibling.clean_accuracy_after[index] == sibling.clean_accuracy_before[siblings[own]]
    assert repair_figures([sibling])["asr"].mean < repair_figures([nothing])["asr"].mean


def test_slow_repairers_repair_some_networks(config: BenchmarkConfig, zoo: Zoo) -> None:
    some = replace(config, num_slow_repair_bases=1, num_trained_repair_bases=2)
    every, more, few = (repaired_networks(zoo, some, name) for name in ("clp", "fine_tuning", "anp"))
    assert [len(set(one.column("base_id"))) for one in (few, more)] == [1, 2]
    assert len(set(every.column("base_id"))) > 2
    assert few.column("poisoned").tolist().count(True) == 1
    assert set(few.column("network_id")) < set(every.column("network_id"))


def test_repairs_are_compared_on_the_networks_that_both_have(
    config: BenchmarkConfig, zoo: Zoo, finished: tuple[Path, list[str]]
) -> None:
    bench = Bench(config, finished[0], {zoo.path.name: zoo})
    ours = bench.repairs(zoo.path.name, "scalegmn")
    (whole,) = bench.repairs(zoo.path.name, "healthy_sibling")
    sibling: RepairResults = part_of(whole, np.arange(len(whole.poisoned))[::-2])
    found = repair_differences(ours, [sibling])
    assert set(found) == {"asr", "ra", "clean_accuracy"}
    places = {network: place for place, network in enumerate(ours[0].network_ids)}
    for name, figure in found.items():
        differences = [
            np.mean([getattr(one, f"{name}_after")[places[network]] for one in ours])
            - getattr(sibling, f"{name}_after")[place]
            for place, network in enumerate(sibling.network_ids)
            if sibling.poisoned[place]
        ]
        assert figure.mean == pytest.approx(np.mean(differences))
        assert figure.low <= figure.mean <= figure.high
    (table,) = (table for table in benchmark_tables(bench) if "less the other's" in table.title)
    assert [row[0] for row in table.rows] == ["none", "channel Lipschitzness (CLP)", "healthy sibling (the bound)"]
    with pytest.raises(ZoovetError, match="results of one repairer are of different networks; remove the older ones"):
        repair_figures([*ours, sibling])


def test_figures_are_means_over_seeds(config: BenchmarkConfig, zoo: Zoo, finished: tuple[Path, list[str]]) -> None:
    scores = Bench(config, finished[0], {zoo.path.name: zoo}).scores(zoo.path.name, "scalegmn")
    assert scores is not None
    perfect = replace_scores(scores, lambda results: results.poisoned.astype(float))
    wrong = replace_scores(scores, lambda results: 1.0 - results.poisoned)
    figures = detection_figures(perfect, probability=True)
    assert (figures["auc"].mean, figures["auc"].std, figures["auc"].low) == (1.0, 0.0, 1.0)
    assert (figures["tpr"].mean, figures["ece"].mean) == (1.0, 0.0)
    assert detection_figures(wrong, probability=True)["ece"].mean == 1.0
    mixed = Scores([perfect.results[0], wrong.results[1]], scores.attacks, scores.origins)
    assert detection_figures(mixed, probability=False)["auc"].mean == 0.5
    assert detection_figures(mixed, probability=False)["auc"].std == pytest.approx(np.sqrt(0.5))
    assert auc_difference(perfect, wrong).mean == 1.0


def replace_scores(scores: Scores, new: Any) -> Scores:
    results = [
        DetectionResults(**{**{name: getattr(one, name) for name in one.__dataclass_fields__}, "scores": new(one)})
        for one in scores.results
    ]
    return Scores(results, scores.attacks, scores.origins)


def test_page_tables_and_block(config: BenchmarkConfig, zoo: Zoo, finished: tuple[Path, list[str]]) -> None:
    out, _ = finished
    bench = Bench(config, out, {zoo.path.name: zoo})
    titles = [table.title for table in benchmark_tables(bench)]
    for what in ("families seen", "family of attacks", "left out", "number of training bases", "repair"):
        assert any(what in title for title in titles), what
    text = write_benchmark(bench, "zoovet bench x --out y")
    assert "| ScaleGMN |" in text
    page = (out / "benchmark.html").read_text()
    assert page.count("<svg") == 4
    for title in ("all seen in training", "Detection of a family left out", "training bases", "Repair: upper left"):
        assert any(title in heading for heading in re.findall(r"<h3>(.*?)</h3>\s*<figure><svg", page)), title
    assert page.count("data:image/png") >= 3 * 2
    block = json.loads((out / "results.json").read_text())["trojan"]["digits"]
    assert set(block["detection_seen"]) == {"scalegmn", "statnn", "num_test", "command"}
    assert set(block["detection_unseen"]) == {"scalegmn", "statnn", "num_test", "command"}
    assert set(block["repair"]["clp"]) == {"asr", "clean_accuracy", "ra", "seconds_per_network", "images"}
    assert block["repair"]["none"]["images"] == 0


def test_a_detector_that_scored_fewer_networks_leaves_the_groups_as_they_are(
    config: BenchmarkConfig, zoo: Zoo, finished: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(config, finished[0], {zoo.path.name: zoo})
    whole = bench.scores(zoo.path.name, "scalegmn")
    assert whole is not None
    families = sorted({str(family) for family in whole.attacks})
    kept = np.flatnonzero(whole.attacks == families[-1])
    few = Scores([part_of(one, kept) for one in whole.results], whole.attacks[kept], whole.origins[kept])
    scores_of = Bench.scores

    def scores(self: Bench, of: str, model: str, **options: Any) -> Scores | None:
        return few if model == "statnn" and not options else scores_of(self, of, model, **options)

    monkeypatch.setattr(Bench, "scores", scores)
    (table,) = (table for table in benchmark_tables(bench) if "family of attacks" in table.title)
    assert list(table.columns) == ["detector", *families]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["StatNN"][:-1] == ("–",) * (len(families) - 1)
    assert rows["StatNN"][-1] != "–"
    for family in families:
        assert f"{int((whole.poisoned & (whole.attacks == family)).sum())} {family}" in table.note
    assert table.note.endswith("; fewer for slow detectors.")


def part_of(results: Any, kept: Any) -> Any:
    """Results on some of the networks."""

    def some(value: Any) -> Any:
        if not isinstance(value, (tuple, list, np.ndarray)):
            return value
        if isinstance(value, np.ndarray):
            return value[kept] if len(value) == len(results.poisoned) else value
        if len(value) == len(results.poisoned):
            return type(value)(value[place] for place in kept)
        return type(value)(some(own) for own in value)

    return type(results)(**{name: some(getattr(results, name)) for name in results.__dataclass_fields__})


def test_tables_as_markdown() -> None:
    table = Table("A", ("detector", "AUC"), (("ours", "1.0"),), "A note.")
    assert table.markdown() == "## A\n\n| detector | AUC |\n|---|---|\n| ours | 1.0 |\n\nA note.\n"


def test_repairers_with_images_are_given_them(zoo: Zoo) -> None:
    assert {name for name, entry in REPAIRERS.items() if entry.uses_images} == {"fine_tuning", "fine_pruning", "anp"}
    assert "clean" in RepairFitting.__dataclass_fields__


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detectors": ["scalegm"]}, "detectors has the unknown entry 'scalegm'; did you mean 'scalegmn'"),
        ({"repairers": ["clip"]}, "repairers has the unknown entry 'clip'; did you mean 'clp'"),
        ({"parts": ["seeen"]}, "parts has the unknown entry 'seeen'; did you mean 'seen'"),
        ({"seeds": []}, "seeds must be different numbers"),
        ({"zoos": ["a/zoo", "b/zoo"]}, "zoos must be one or several folders of different names"),
        ({"num_images": 0}, "num_images must be at least 1"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        read_config(BenchmarkConfig, {"zoos": ["zoo"], **settings})


def test_what_a_zoo_cannot_give(config: BenchmarkConfig, zoo: Zoo, tmp_path: Path) -> None:
    def run(**changes: Any) -> None:
        run_benchmark(replace(config, **changes), tmp_path / "out", data_root=None, tell=lambda text: None)

    with pytest.raises(ZoovetError, match="families has the unknown entry 'blende'; did you mean 'blend'"):
        run(families=("blende",))
    with pytest.raises(ZoovetError, match=r"has 7 training bases, but sizes asks for 400"):
        run(sizes=(400,))


def test_shards_are_checked_and_one_process_works_in_a_folder(
    config: BenchmarkConfig, zoo: Zoo, tmp_path: Path
) -> None:
    copy = tmp_path / zoo.path.name
    shutil.copytree(zoo.path, copy)
    shard = copy / "shard-00000.parquet"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 4
    shard.write_bytes(data)
    with pytest.raises(ZoovetError, match=r"shard-00000.parquet has the wrong checksum"):
        run_benchmark(replace(config, zoos=(copy,)), tmp_path / "out", data_root=None, tell=print)
    assert not (tmp_path / "out").exists()
    with folder_lock(tmp_path / "out", "written"), pytest.raises(ZoovetError, match="out is being written by process"):
        run_benchmark(config, tmp_path / "out", data_root=None, tell=print)


def test_a_missing_extra_is_said_at_the_start(
    config: BenchmarkConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector_table, "find_spec", lambda name: None)
    with pytest.raises(ZoovetError, match=r"pip install 'zoovet\[nfn\]'"):
        run_benchmark(replace(config, detectors=("nfn",)), tmp_path / "out", data_root=None, tell=lambda text: None)


def test_a_folder_keeps_its_settings(config: BenchmarkConfig, finished: tuple[Path, list[str]]) -> None:
    out, _ = finished
    with pytest.raises(ZoovetError, match="holds a benchmark with another num_images: 50 there, 20 now"):
        run_benchmark(replace(config, num_images=20), out, data_root=None, tell=lambda text: None)
    other = replace(config.detection, training=replace(config.detection.training, batch_size=8))
    with pytest.raises(ZoovetError, match=r"another detection\.training\.batch_size: \d+ there, 8 now"):
        run_benchmark(replace(config, detection=other), out, data_root=None, tell=lambda text: None)


def test_a_folder_keeps_its_zoos(
    config: BenchmarkConfig, zoo: Zoo, finished: tuple[Path, list[str]], tmp_path: Path
) -> None:
    out, copy = tmp_path / "out", tmp_path / zoo.path.name
    shutil.copytree(finished[0], out)
    shutil.copytree(zoo.path, copy)
    moved = replace(config, zoos=(copy,))
    told: list[str] = []
    run_benchmark(moved, out, data_root=None, tell=told.append)
    assert told == []
    info = ZooInfo.read(copy)
    replace(info, shards=(replace(info.shards[0], sha256="0" * 64), *info.shards[1:])).write(copy)
    with pytest.raises(ZoovetError, match=f"another zoo of the name {copy.name}: the shards of .* give another --out"):
        run_benchmark(moved, out, data_root=None, tell=told.append)
    damages = {"3": "must hold", "[]": "must hold", "{}": "is damaged: the key 'zoos'", "not JSON": "cannot be read"}
    for damage, message in damages.items():
        (out / "origin.json").write_text(damage, encoding="utf-8")
        with pytest.raises(ZoovetError, match=rf"origin\.json {message}.*; give another --out"):
            run_benchmark(moved, out, data_root=None, tell=told.append)


def test_a_refused_run_says_nothing_of_the_folders_zoos(
    config: BenchmarkConfig, zoo: Zoo, finished: tuple[Path, list[str]], tmp_path: Path
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    shutil.copytree(finished[0], out)
    shutil.copytree(zoo.path, other)
    before = (out / "origin.json").read_bytes()
    with pytest.raises(ZoovetError, match="another num_images"):
        run_benchmark(replace(config, zoos=(other,), num_images=20), out, data_root=None, tell=print)
    assert (out / "origin.json").read_bytes() == before


@pytest.mark.parametrize(("kind", "table", "name"), [("detection", DETECTORS, "statnn"), ("repair", REPAIRERS, "none")])
def test_results_of_an_older_revision_are_not_taken_for_a_newers(
    kind: str,
    table: dict[str, Any],
    name: str,
    config: BenchmarkConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, told = tmp_path / "out", list[str]()
    parts: tuple[Literal["seen", "repair"], ...] = ("seen",) if kind == "detection" else ("repair",)
    config = replace(config, parts=parts, seeds=(0,), detectors=("statnn",), repairers=("none",))
    run_benchmark(config, out, data_root=None, tell=print)
    monkeypatch.setitem(table, name, replace(table[name], revision=2))
    folder = out / kind / "digits-trojan" / name
    with pytest.raises(ZoovetError, match=rf"{folder} has results of an older {name}, .* delete that folder"):
        run_benchmark(config, out, data_root=None, tell=told.append)
    shutil.rmtree(folder)
    run_benchmark(config, out, data_root=None, tell=told.append)
    assert told
    assert all(name in line for line in told)
    run_benchmark(config, out, data_root=None, tell=pytest.fail)


def test_a_folder_of_a_version_with_fewer_settings_goes_on(
    config: BenchmarkConfig, finished: tuple[Path, list[str]]
) -> None:
    out, _ = finished
    written = out / "benchmark.yaml"
    values = read_yaml(written)
    del values["repair"]["error_weight"], values["detection"]["training"]["closing_share"]
    written.write_text(yaml.safe_dump(values))
    told: list[str] = []
    run_benchmark(config, out, data_root=None, tell=told.append)
    assert told == []


def test_results_are_written_network_by_network(zoo: Zoo, finished: tuple[Path, list[str]]) -> None:
    out, _ = finished
    name = zoo.path.name
    detection = DetectionResults.load(results_path(out, Trial(zoo=name, model="scalegmn", seed=1), name))
    assert detection.network_ids == tuple(counted_networks(zoo, 0.1).column("network_id"))
    repair = RepairResults.load(results_path(out, Trial(zoo=name, model="clp", seed=0)))
    assert repair.num_images == 50
