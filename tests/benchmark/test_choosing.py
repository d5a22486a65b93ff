"""Rival repairers' settings: the best of those tried, on validation networks alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from zoovet.benchmark import BenchmarkConfig, run_benchmark
from zoovet.benchmark.choosing import Choice, choose_settings
from zoovet.benchmark.repairers import REPAIRERS, RepairerEntry, RepairFitting
from zoovet.benchmark.trials import Trial
from zoovet.benchmark.worker import ChoiceJob, Worker, results_path
from zoovet.errors import ZoovetError
from zoovet.evaluation import RepairResults
from zoovet.images import load_dataset
from zoovet.networks import Networks
from zoovet.rivals import AdversarialPruningRepairer, CleanImages
from zoovet.tasks.inversion_memory import InversionMemory
from zoovet.zoo import Zoo


@dataclass
class Scaling:
    """Multiplies all weights; remembers the networks that it was given."""

    factor: float
    seen: list[bytes]

    def repair(self, networks: Networks) -> Networks:
        self.seen += [row.numpy().tobytes() for row in networks.flat()]
        return networks.map(lambda tensor: self.factor * tensor)


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The rival of the name ``clp`` multiplies weights by 0, 1 or −1; what it was given."""
    seen: list[bytes] = []
    entry = RepairerEntry(
        title="scaling",
        make=lambda given: Scaling(**given.settings, seen=seen),
        settings=({"factor": 0.0}, {"factor": 1.0}, {"factor": -1.0}),
        seeded=False,
    )
    monkeypatch.setitem(REPAIRERS, "clp", entry)
    return seen


def weights_of(zoo: Zoo) -> set[bytes]:
    return {row.numpy().tobytes() for networks, _ in zoo.batches_by_graph() for row in networks.flat()}


def test_validation_networks_choose_by_the_score_that_repair_is_trained_for(
    config: BenchmarkConfig, zoo: Zoo, scaling: list[bytes], tmp_path: Path
) -> None:
    job = ChoiceJob(zoo.path.name, "clp")
    Worker(config, tmp_path, None).do(job)
    choice = Choice.load(job.path(tmp_path))
    assert set(scaling) == weights_of(zoo.split("validation"))
    assert choice.num_bases == len(np.unique(zoo.split("validation").column("base_id")))
    assert [one["settings"]["factor"] for one in choice.tried] == [0.0, 1.0, -1.0]
    assert [one["score"] for one in choice.tried] == [
        config.repair.score(asr=one["asr"], lost=one["lost"], healthy_lost=one["healthy_lost"]) for one in choice.tried
    ]
    nothing, same, opposite = choice.tried
    assert same["lost"] == same["healthy_lost"] == 0
    assert min(nothing["lost"], opposite["lost"]) > 0.1
    best = min(choice.tried, key=lambda one: one["score"])
    assert choice.settings == best["settings"] == {"factor": 1.0}


def test_fewer_bases_where_asked(config: BenchmarkConfig, zoo: Zoo, scaling: list[bytes], tmp_path: Path) -> None:
    job = ChoiceJob(zoo.path.name, "clp")
    Worker(replace(config, num_choice_bases=2), tmp_path, None).do(job)
    assert Choice.load(job.path(tmp_path)).num_bases == 2
    assert len(set(scaling)) == 4


def test_what_was_chosen_is_used_and_kept(
    config: BenchmarkConfig, zoo: Zoo, scaling: list[bytes], tmp_path: Path
) -> None:
    job = ChoiceJob(zoo.path.name, "clp")
    Choice({"factor": -1.0}, REPAIRERS["clp"].settings, (), 3).save(job.path(tmp_path))
    told: list[str] = []
    run_benchmark(replace(config, parts=("repair",), repairers=("clp",)), tmp_path, data_root=None, tell=told.append)
    assert len(told) == 1
    assert not weights_of(zoo.split("validation")) & set(scaling)
    assert weights_of(zoo.split("test")) >= set(scaling)
    assert Choice.load(job.path(tmp_path)).settings == {"factor": -1.0}
    results = RepairResults.load(results_path(tmp_path, Trial(zoo=zoo.path.name, model="clp", seed=0)))
    np.testing.assert_allclose(results.relative_changes, 2)


def test_a_choice_among_other_settings_is_not_gone_on_with(
    config: BenchmarkConfig, zoo: Zoo, scaling: list[bytes], tmp_path: Path
) -> None:
    job = ChoiceJob(zoo.path.name, "clp")
    Choice({"factor": 0.0}, ({"factor": 0.0}, {"factor": 1.0}), (), 3).save(job.path(tmp_path))
    only = replace(config, parts=("repair",), repairers=("clp",))
    with pytest.raises(ZoovetError, match=r"choice.json is a choice among other settings of clp .* delete .*clp to"):
        run_benchmark(only, tmp_path, data_root=None, tell=print)
    assert scaling == []
    job.path(tmp_path).write_text("{}", encoding="utf-8")
    with pytest.raises(ZoovetError, match=r"choice.json is no choice of settings: the key 'settings' .*; delete .*clp"):
        run_benchmark(only, tmp_path, data_root=None, tell=print)


def test_a_setting_whose_weights_overflow_is_not_chosen(config: BenchmarkConfig, zoo: Zoo) -> None:
    settings = ({"factor": float("inf")}, {"factor": 0.5})
    entry = RepairerEntry(title="some", make=lambda given: Scaling(**given.settings, seen=[]), settings=settings)
    choice = choose_settings(entry, fitting_of(config, zoo), zoo.split("validation"))
    assert choice.settings == {"factor": 0.5}
    assert len(choice.tried) == 1
    with pytest.raises(ZoovetError, match="the repaired networks"):
        choose_settings(replace(entry, settings=settings[:1]), fitting_of(config, zoo), zoo.split("validation"))


def fitting_of(config: BenchmarkConfig, zoo: Zoo) -> RepairFitting:
    images = load_dataset("digits", "train")
    return RepairFitting(
        zoo=zoo,
        images=images,
        seed=0,
        folder=Path("unused"),
        config=config.repair,
        inversions=InversionMemory(),
        clean=CleanImages.draw(images, 20, np.random.default_rng(0)),
    )


def test_anp_learns_masks_once_for_all_thresholds(
    config: BenchmarkConfig, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, learned = AdversarialPruningRepairer.masks, list[int]()

    def counting(repairer: AdversarialPruningRepairer, networks: Networks) -> Tensor:
        learned.append(len(networks))
        return learn(repairer, networks)

    monkeypatch.setattr(AdversarialPruningRepairer, "masks", counting)
    settings = tuple({"num_steps": 2, "learning_rate": rate, "threshold": t} for rate in (5.0, 6.0) for t in (0.0, 1.0))
    networks = zoo.split("validation")
    choice = choose_settings(replace(REPAIRERS["anp"], settings=settings), fitting_of(config, zoo), networks)
    assert sum(learned) == 2 * len(networks)
    assert len(choice.tried) == 4
    assert choice.tried[0]["lost"] < choice.tried[1]["lost"]  # a threshold of 1 prunes every channel


def test_the_first_of_equals_is_chosen(config: BenchmarkConfig, zoo: Zoo) -> None:
    settings = ({"factor": 1.0}, {"factor": 2.0})
    entry = RepairerEntry(title="same", make=lambda given: Scaling(1.0, []), settings=settings)
    choice = choose_settings(entry, fitting_of(config, zoo), zoo.split("validation"))
    assert choice.settings == {"factor": 1.0}
    assert str(choice) == "factor 1"


@pytest.mark.parametrize("name", [name for name, entry in REPAIRERS.items() if len(entry.settings) > 1])
def test_every_setting_of_a_rival_is_one_that_it_takes(name: str, config: BenchmarkConfig, zoo: Zoo) -> None:
    entry, given = REPAIRERS[name], fitting_of(config, zoo)
    repairers = [entry.make(replace(given, settings=settings)) for settings in entry.settings]
    assert [
        {key: getattr(one, key) for key in settings} for one, settings in zip(repairers, entry.settings, strict=True)
    ] == [dict(settings) for settings in entry.settings]
    assert len({str(settings) for settings in entry.settings}) == len(entry.settings)
