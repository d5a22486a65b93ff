"""From a park on disk to a detector: evidence is sought once, goes on where it stopped, and the run can be opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.evidence import ClassEvidence, ClassEvidenceConfig, Runnable, RunnableGraphs, class_evidence
from zoovet.images.sources import ImageSource
from zoovet.jobs import Inline
from zoovet.tasks.strangers import park_evidence
from zoovet.tasks.strangers.config import ReaderTraining, StrangerConfig
from zoovet.tasks.strangers.detector import StrangerDetector
from zoovet.tasks.strangers.efforts import EFFORTS
from zoovet.tasks.strangers.evidence_files import read_evidence
from zoovet.tasks.strangers.park_evidence import ParkEvidence, found_evidence
from zoovet.tasks.strangers.run import train_stranger_detector
from zoovet.zoo import ImageBlock, ParkRecipe, ParkTraining, PatchAttack, Zoo, build_zoo
from zoovet.zoo.compiled_runnable import CompiledRunnable
from zoovet.zoo.park.families import MlpFamily, PlainFamily
from zoovet.zoo.recipe_parts import SplitShares

QUICK = ClassEvidenceConfig(
    patch_sizes=(0.3,),
    num_places=2,
    pixel_factors=(1.0,),
    change_factors=(0.5,),
    smooth_factors=(),
    warp_factors=(),
    stripe_amplitudes=(0.2,),
    num_steps=2,
    num_margin_steps=2,
    num_stripes=4,
    num_warps=2,
)
WHOLE = StrangerConfig(
    images_per_class=2, evidence=QUICK, few_classes=(), training=ReaderTraining(num_members=1, num_steps=10)
)
CONFIG = replace(WHOLE, few_classes=(2, 3))


@pytest.fixture(scope="module")
def park(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    digits = {name: ImageSource(source="digits", color=name) for name in ("gray", "rgb")}
    recipe = ParkRecipe(
        images=tuple(ImageBlock(name=name, images=source, min_clean_accuracy=0.0) for name, source in digits.items()),
        architectures=(
            PlainFamily(variants=1, depth=(1, 1), width=(8, 8), norm=("batch",), hidden=(0, 0)),
            MlpFamily(variants=1, norm=("none",), depth=(1, 1), width=(8, 8)),
        ),
        training=ParkTraining(images=(200, 200), epochs=(3, 3), batch_size=(16,), adaptive_learning_rate=(0.01, 0.02)),
        attacks=(PatchAttack(poison_rate=(0.3, 0.4)),),
        num_bases=4,
        round_bases=4,
        test_images=100,
        max_accuracy_loss=1.0,
        min_asr=0.0,
        split=SplitShares(train=0.75, validation=0.0, test=0.25),
        bases_per_shard=2,
    )
    return build_zoo(recipe, tmp_path_factory.mktemp("park") / "park", runner=Inline())


def test_compiled_code_finds_what_torch_finds(park: Zoo) -> None:
    for place in range(len(park)):
        networks = park.networks([place])
        compiled, plain = CompiledRunnable(networks), RunnableGraphs(networks)
        images = 2 * torch.rand(3, *compiled.input_shape, generator=torch.Generator().manual_seed(place)) - 1
        answers = []
        for runnable in (compiled, plain):
            shown = images.clone().requires_grad_()
            logits = runnable.logits(shown)
            (slopes,) = torch.autograd.grad(logits[0, :, 1].sum(), shown)
            answers.append((logits.detach(), slopes))
            torch.testing.assert_close(runnable.logits(images[None]).detach(), logits.detach(), atol=1e-5, rtol=1e-5)
        for found, expected in zip(*answers, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_evidence_is_sought_once_and_by_what_is_asked(
    park: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    first = park.select(park.column("base_id") < 1)
    found_evidence(ParkEvidence(first, WHOLE, tmp_path, None), workers=1, progress=lambda *so_far: told.append(so_far))
    assert told == [(0, 1), (1, 1)]
    sought: list[int] = []

    def counted(*arguments: Any) -> ClassEvidence:
        sought.append(1)
        return class_evidence(*arguments)

    monkeypatch.setattr(park_evidence, "class_evidence", counted)
    rows = found_evidence(ParkEvidence(park, WHOLE, tmp_path, None), workers=1)
    assert len(sought) == len(park) - len(first)
    assert [row.network_id for row in rows] == list(park.column("network_id"))
    assert [row.labelled.is_trojaned for row in rows] == park.column("poisoned").tolist()
    for row, target in zip(rows, park.column("target").tolist(), strict=True):
        assert row.labelled.target == (target if row.labelled.is_trojaned else -1)
        assert row.labelled.features.values.shape[0] == 10
        assert bool(row.labelled.features.values.any())
    other = replace(WHOLE, images_per_class=3)
    with pytest.raises(ZoovetError, match="holds evidence that was sought otherwise"):
        found_evidence(ParkEvidence(park, other, tmp_path, None), workers=1)


def test_evidence_of_few_classes_is_sought_beside_what_is_there(
    park: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = found_evidence(ParkEvidence(park, WHOLE, tmp_path, None), workers=1)
    sought: list[tuple[int, list[int]]] = []

    def counted(network: Runnable, pixels: Any, labels: torch.Tensor, config: Any) -> ClassEvidence:
        sought.append((network.num_classes, sorted(set(labels.tolist()))))
        return class_evidence(network, pixels, labels, config)

    monkeypatch.setattr(park_evidence, "class_evidence", counted)
    cut = ParkEvidence(park, CONFIG, tmp_path, None)
    again = found_evidence(cut, workers=1)
    assert sought == [(2, [0, 1]), (3, [0, 1, 2])] * len(park)
    for row, before in zip(again, whole, strict=True):
        assert torch.equal(row.labelled.features.values, before.labelled.features.values)
    few = cut.rows_of_few()
    assert [row.network_id for row in few] == [row.network_id for row in whole for _ in (2, 3)]
    assert [row.num_classes for row in few] == [2, 3] * len(park)
    for row, place in zip(few, [place for place in range(len(park)) for _ in (2, 3)], strict=True):
        assert row.labelled.is_trojaned == bool(park.column("poisoned")[place])
        assert (row.labelled.target >= 0) == row.labelled.is_trojaned
        assert row.labelled.target < row.num_classes
    stored = read_evidence(cut.few_file_of(int(park.column("base_id")[0])))
    classes = {row["network_id"]: row["classes"] for row in stored if row["num_classes"] == 3}
    for name, kept in classes.items():
        (place,) = np.flatnonzero(park.column("network_id") == name)
        (row,) = (row for row in few if row.network_id == name and row.num_classes == 3)
        if row.labelled.is_trojaned:
            assert kept[row.labelled.target] == park.column("target")[place]
    with pytest.raises(ZoovetError, match=r"few\.parquet holds evidence that was sought otherwise"):
        found_evidence(ParkEvidence(park, replace(CONFIG, few_classes=(2, 4)), tmp_path, None), workers=1)


def test_a_trojan_towards_every_class_has_no_target_in_few_classes_either(
    park: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    column, first = Zoo.column, park.select(park.column("base_id") < 1)

    def towards_each(zoo: Zoo, name: str) -> Any:
        return np.full(len(zoo), -1) if name == "target" else column(zoo, name)

    monkeypatch.setattr(Zoo, "column", towards_each)
    evidence = ParkEvidence(first, CONFIG, tmp_path, None)
    found_evidence(evidence, workers=1)
    for rows in (evidence.rows(), evidence.rows_of_few()):
        assert {row.labelled.is_trojaned for row in rows} == {False, True}
        assert {row.labelled.target for row in rows} == {-1}


@pytest.mark.slow
def test_processes_find_the_same_and_damage_is_named(park: Zoo, tmp_path: Path) -> None:
    for workers in (1, 2):
        found_evidence(ParkEvidence(park, CONFIG, tmp_path / str(workers), None), workers=workers)
    rows = [ParkEvidence(park, CONFIG, tmp_path / str(workers), None).rows() for workers in (1, 2)]
    for alone, beside in zip(*rows, strict=True):
        assert torch.equal(alone.labelled.features.values, beside.labelled.features.values)
    again = ParkEvidence(park, CONFIG, tmp_path / "2", None)
    file = again.file_of(int(park.column("base_id")[0]))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ZoovetError, match=r"\.parquet is damaged; remove it"):
        found_evidence(again, workers=2)


def test_a_run_ends_with_a_detector_that_opens(park: Zoo, tmp_path: Path) -> None:
    trained = train_stranger_detector(CONFIG, park, tmp_path / "run", evidence=tmp_path / "evidence")
    assert set(trained.description["validation"]) == {"auc_image_set_left_out", "tpr_at_5_percent", "target_named"}
    learned_from = int(np.isin(park.column("split"), ("train", "validation")).sum())
    assert trained.description["num_networks"] == learned_from == 6
    assert len(list((tmp_path / "evidence").iterdir())) == 2 * 3
    assert set(trained.description["validation_of_few"]) == {"2", "3"}
    assert [list(own.worth) for own in trained.by_effort.values()] == [[2, 3, 8]] * len(EFFORTS)
    again = train_stranger_detector(CONFIG, park, tmp_path / "run")
    assert again.version == trained.version == StrangerDetector.open(tmp_path / "run").version
    networks = park.networks([0])
    found = class_evidence(RunnableGraphs(networks), None, None, trained.evidence_config("quick"))
    assert 0 < trained.read(found, "quick").probability < 1
    assert set(trained.description["validation_by_effort"]) == set(EFFORTS)
    more = replace(CONFIG, training=replace(CONFIG.training, num_steps=11))
    with pytest.raises(ZoovetError, match=r"another training\.num_steps"):
        train_stranger_detector(more, park, tmp_path / "run")
