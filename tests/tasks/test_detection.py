"""Detection end to end on a tiny zoo: it learns, its threshold is of validation, it loads exactly, refuses misfits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from zoovet.errors import ZoovetError
from zoovet.evidence import Evidence, Inversion, InversionConfig
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Networks, mlp
from zoovet.tasks.augmentation import AugmentationConfig
from zoovet.tasks.calibration_fitting import accuracy_threshold
from zoovet.tasks.detection import DetectionModule, train_detector
from zoovet.tasks.detection_config import DetectionConfig
from zoovet.tasks.detector import Detector
from zoovet.tasks.population import Population, load_populations
from zoovet.tasks.training_config import InversionProgress, TrainingConfig, TrainingProgress
from zoovet.zoo import Zoo

Config = Callable[..., TrainingConfig]
TINY = ScaleGMNConfig(width=8, num_layers=2)


class FirstBias(nn.Module):
    """A metanetwork that says what the last layer's first bias is; it remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))
        self.seen: list[list[Networks]] = []

    def forward(self, networks: list[Networks]) -> torch.Tensor:
        self.seen.append(networks)
        return torch.cat([batch.biases[-1][:, :1] for batch in networks]) * self.factor


@pytest.fixture(scope="module")
def trained(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a detector of a few steps."""
    folder = tmp_path_factory.mktemp("detector")
    training = TrainingConfig(max_steps=4, validation_interval=2, batch_size=6, warmup_steps=2)
    train_detector(DetectionConfig(metanetwork=TINY, training=training), zoo, folder)
    return folder


def module_of(zoo: Zoo, config: DetectionConfig) -> tuple[DetectionModule, FirstBias, Population]:
    train, validation = load_populations(zoo)
    metanetwork = FirstBias()
    return DetectionModule(metanetwork, train, validation, config), metanetwork, train


def test_it_learns_what_sets_trojaned_networks_apart(make_zoo: Callable[..., Zoo], tmp_path: Path) -> None:
    reports: list[TrainingProgress] = []
    training = TrainingConfig(
        max_steps=40, validation_interval=20, batch_size=16, warmup_steps=5, learning_rate=1e-2, average_decay=0.8
    )
    zoo = make_zoo(num_bases=60)
    detector = train_detector(
        DetectionConfig(metanetwork=TINY, training=training), zoo, tmp_path, progress=reports.append
    )
    assert detector.description["validation"]["auc"] > 0.9
    test = zoo.split("test")
    scores = {"trojaned": [], "healthy": []}
    for networks, places in test.batches_by_graph():
        for score, poisoned in zip(detector.score(networks).tolist(), test.column("poisoned")[places], strict=True):
            scores["trojaned" if poisoned else "healthy"].append(score)
    assert np.mean(scores["trojaned"]) > np.mean(scores["healthy"]) + 0.2
    assert reports[-1].loss < reports[0].loss


def test_threshold_and_checkpoint_never_depend_on_test_networks(
    make_zoo: Callable[..., Zoo], training: Config, tmp_path: Path
) -> None:
    def garble(row: dict[str, Any]) -> None:
        if row["split"] == "test":
            row.update(weights=-3 * row["weights"], asr=0.1, poisoned=not row["poisoned"])

    config = DetectionConfig(metanetwork=TINY, training=training())
    plain, garbled = (
        train_detector(config, make_zoo(change=change), tmp_path / name)
        for name, change in (("plain", lambda _: None), ("garbled", garble))
    )
    assert plain.threshold == garbled.threshold
    assert plain.description["validation"] == garbled.description["validation"]
    tensors = zip(plain.metanetwork.state_dict().values(), garbled.metanetwork.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in tensors)


def test_the_threshold_is_the_best_on_validation_networks(zoo: Zoo, trained: Path) -> None:
    detector, (_, validation) = Detector.load(trained), load_populations(zoo)
    batch = validation.batch(torch.arange(len(validation)))
    scores, labels = detector.score(batch.networks), validation.trojaned[batch.indices]
    threshold, accuracy = accuracy_threshold(scores, labels)
    assert detector.threshold == threshold
    assert detector.description["validation"]["accuracy"] == accuracy
    assert ((scores >= threshold) == labels).float().mean() == pytest.approx(accuracy)


def test_a_detector_loads_exactly(trained: Path, suspects: list[Networks]) -> None:
    first, second = Detector.load(trained), Detector.load(trained / "checkpoint.safetensors")
    scores = first.score(suspects)
    assert torch.equal(scores, second.score(suspects))
    assert (first.threshold, first.graphs, first.description) == (second.threshold, second.graphs, second.description)
    assert scores.dtype == torch.float32
    assert scores.shape == (5,)
    assert ((scores > 0) & (scores < 1)).all()
    assert torch.equal(first.flag(suspects), scores >= first.threshold)


def test_several_members_are_trained_apart_and_load_as_one(zoo: Zoo, tmp_path: Path, suspects: list[Networks]) -> None:
    training = TrainingConfig(max_steps=4, validation_interval=2, batch_size=6, warmup_steps=2)
    config = DetectionConfig(metanetwork=TINY, training=training, num_members=2)
    detector = train_detector(config, zoo, tmp_path)
    first, second = detector.metanetwork.members
    logits = torch.stack([member(suspects) for member in (first, second)])
    assert (logits[0] - logits[1]).abs().max() > 1e-3
    assert detector.calibration.scale == pytest.approx(detector.description["validation"]["calibration_scale"])
    expected = detector.calibration(logits.mean(dim=0).squeeze(1))
    torch.testing.assert_close(detector.score(suspects), expected)
    torch.testing.assert_close(Detector.load(tmp_path).score(suspects), expected)


def test_scores_come_in_order_whatever_the_pieces(trained: Path, suspects: list[Networks]) -> None:
    detector = Detector.load(trained)
    whole = detector.score(suspects)
    torch.testing.assert_close(detector.score(suspects, batch_size=2), whole)
    torch.testing.assert_close(detector.score(suspects[::-1]), torch.cat([whole[3:], whole[:3]]))
    torch.testing.assert_close(detector.score(suspects[0].to(dtype=torch.float64)), whole[:3])
    assert not detector.metanetwork.training


def test_networks_it_was_not_trained_on_are_refused(trained: Path) -> None:
    graph = mlp((4, 3, 2))
    strangers = Networks.from_flat(graph, torch.zeros(1, graph.num_parameters))
    message = (
        r"this detector was not trained on such networks. Given: 4 → linear 3 relu → linear 2\. "
        r"It reads: 1×8×8 → conv 3 3×3 /2 (relu|tanh) .* and 1 more$"
    )
    with pytest.raises(ZoovetError, match=message):
        Detector.load(trained).score(strangers)


def test_nan_and_nothing_are_refused(trained: Path, suspects: list[Networks]) -> None:
    detector = Detector.load(trained)
    suspects[1].biases[2][1, 0] = torch.nan
    with pytest.raises(ZoovetError, match="the networks given: network 1 has NaN or infinite biases in layer 2"):
        detector.score(suspects)
    with pytest.raises(ZoovetError, match="no networks were given; at least one is needed"):
        detector.score([])


def test_a_checkpoint_of_an_unknown_metanetwork_is_refused(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoovet.tasks.metanetworks._KINDS", {"scalegnn": None})
    with pytest.raises(ZoovetError, match="the metanetwork kind 'scalegmn' is unknown; did you mean 'scalegnn'"):
        Detector.load(trained)


def test_a_detector_loads_without_lightning(trained: Path) -> None:
    code = (
        "import sys; from zoovet.tasks import Detector; Detector.load(sys.argv[1]); "
        "print([name for name in ('lightning', 'sklearn', 'pyarrow') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(trained)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_inversion_is_a_stage_before_the_steps_and_its_time_is_not_theirs(
    zoo: Zoo, training: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoovet.tasks.inversion_memory._CHUNK", 5)
    now, invert = [0.0], Inversion.forward

    def slow(inversion: Inversion, networks: Networks) -> Evidence:
        now[0] += 60.0
        return invert(inversion, networks)

    monkeypatch.setattr(Inversion, "forward", slow)
    monkeypatch.setattr("zoovet.tasks.run_training.time.monotonic", lambda: now[0])
    inversion = InversionConfig(patch_size=3, num_backgrounds=1, num_steps=1)
    metanetwork = ScaleGMNConfig(width=4, num_layers=1, inversion=inversion)
    config = DetectionConfig(metanetwork=metanetwork, training=training(max_minutes=1.0))
    told: list[TrainingProgress | InversionProgress] = []
    train_detector(config, zoo, tmp_path, progress=told.append)
    stages = [type(one) for one in told]
    num_inverted = stages.count(InversionProgress)
    assert stages == [InversionProgress] * num_inverted + [TrainingProgress] * (len(told) - num_inverted)
    assert [one.num_networks for one in told[:num_inverted]] == [5, 10, 12, 17, 22, 24, 28, 32]
    assert {one.total for one in told[:num_inverted]} == {32}
    assert told[num_inverted - 1].seconds == 60.0 * num_inverted
    assert (told[-1].step, told[-1].seconds, told[-1].ended) == (6, 0.0, ""), "the limit is for the steps alone"
    written = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert (written["seconds"], written["cut_short"]) == (60.0 * num_inverted, None)


def test_siblings_share_batches_where_asked(zoo: Zoo, training: Config) -> None:
    def bases(paired: bool) -> int:
        config = DetectionConfig(paired=paired, training=training(batch_size=4))
        module, metanetwork, train = module_of(zoo, config)
        flat_of = {tuple(train.batch(torch.tensor([i])).networks[0].flat()[0].tolist()): i for i in range(len(train))}
        for step in range(6):
            module.loss_at(step)
        given = [[flat_of[tuple(row)] for some in seen for row in some.flat().tolist()] for seen in metanetwork.seen]
        assert sorted(index for batch in given for index in batch) == list(range(24))
        return sum(len(set(train.base_of[batch].tolist())) for batch in given)

    assert bases(paired=True) == 12
    assert bases(paired=False) > 14


def test_the_loss_is_cross_entropy_with_smoothed_labels(zoo: Zoo, training: Config) -> None:
    for smoothing in (0.0, 0.2):
        module, metanetwork, train = module_of(zoo, DetectionConfig(label_smoothing=smoothing, training=training()))
        loss, _ = module.loss_at(0)
        (seen,) = metanetwork.seen
        flats = torch.cat([some.flat() for some in seen])
        pool = train.batch(torch.arange(len(train)))
        all_flats = torch.cat([some.flat() for some in pool.networks])
        places = [int((all_flats == flat).all(dim=1).nonzero()) for flat in flats]
        labels = train.trojaned[pool.indices[places]].double() * (1 - smoothing) + smoothing / 2
        probabilities = torch.sigmoid(torch.cat([some.biases[-1][:, 0] for some in seen]).double())
        expected = -(labels * probabilities.log() + (1 - labels) * (1 - probabilities).log()).mean()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_networks_are_augmented_anew_each_step_and_their_siblings_known(zoo: Zoo, training: Config) -> None:
    plain_module, plain, train = module_of(zoo, DetectionConfig(training=training()))
    config = DetectionConfig(augmentation=AugmentationConfig(sibling_mixing=0.3), training=training())
    module, mixed, _ = module_of(zoo, config)
    plain_module.loss_at(0)
    for step in (0, 0, 4):
        module.loss_at(step)
    everything = train.batch(torch.arange(len(train)))
    flats = torch.cat([some.flat() for some in everything.networks])
    for clean, moved, again in zip(plain.seen[0], mixed.seen[0], mixed.seen[1], strict=True):
        assert torch.equal(moved.flat(), again.flat())
        for own, change in zip(clean.flat(), moved.flat() - clean.flat(), strict=True):
            place = int(everything.indices[(flats == own).all(dim=1)])
            (sibling,) = train.batch(train.sibling_of[[place]]).networks
            cosine = torch.cosine_similarity(change, sibling.flat()[0] - own, dim=0)
            assert abs(float(cosine)) == pytest.approx(1, abs=1e-3)
    assert not torch.equal(mixed.seen[0][0].flat()[0], mixed.seen[2][0].flat()[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metanetwork": ScaleGMNConfig(output="weights")}, "output 'graph' and num_outputs 1, got 'weights' and 1"),
        ({"metanetwork": ScaleGMNConfig(num_outputs=2)}, "output 'graph' and num_outputs 1, got 'graph' and 2"),
        ({"label_smoothing": 1.0}, "label_smoothing must be at least 0 and below 1, got 1.0"),
    ],
)
def test_configurations_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        DetectionConfig(**options)


def test_scores_that_are_not_finite_end_the_validation(zoo: Zoo, training: Config) -> None:
    module, metanetwork, _ = module_of(zoo, DetectionConfig(training=training()))
    with torch.no_grad():
        metanetwork.factor.fill_(torch.nan)
    with pytest.raises(ZoovetError, match=r"scores are no longer finite; lower training.learning_rate"):
        module.validate(metanetwork)


@pytest.mark.parametrize(
    ("scores", "labels", "threshold", "accuracy"),
    [
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], 0.5, 1.0),
        ([0.1, 0.4, 0.5, 0.9], [0, 1, 0, 1], 0.7, 0.75),
        ([0.1, 0.2, 0.3], [1, 1, 1], 0.1, 1.0),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 1, 1], 0.5, 0.75),
    ],
)
def test_the_best_threshold_in_small_cases(
    scores: list[float], labels: list[int], threshold: float, accuracy: float
) -> None:
    found = accuracy_threshold(torch.tensor(scores), torch.tensor(labels).bool())
    assert found == pytest.approx((threshold, accuracy))


def test_the_best_threshold_beats_every_other() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        scores = (torch.rand(30, generator=generator) * 8).round() / 8
        labels = torch.rand(30, generator=generator) < 0.5
        threshold, accuracy = accuracy_threshold(scores, labels)
        others = [((scores >= cut) == labels).double().mean() for cut in torch.linspace(-0.1, 1.1, 200)]
        assert accuracy == pytest.approx(float(max(others)))
        assert ((scores >= threshold) == labels).double().mean() == pytest.approx(accuracy)


def test_flagging_nothing_holds_in_single_precision() -> None:
    scores = torch.tensor([0.25, 0.75])
    threshold, accuracy = accuracy_threshold(scores, torch.tensor([False, False]))
    assert accuracy == 1.0
    assert not (scores >= threshold).any()
    neighbours = torch.tensor([0.5, float(np.nextafter(np.float32(0.5), np.float32(1)))])
    threshold, accuracy = accuracy_threshold(neighbours, torch.tensor([False, True]))
    assert accuracy == 1.0
    assert (neighbours >= threshold).tolist() == [False, True]
