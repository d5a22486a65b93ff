"""Training a classifier of SIRENs: it learns, resumes, loads exactly, and never looks at test networks."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets import FlatMLPConfig, ScaleGMNConfig
from zoovet.networks import Networks, siren
from zoovet.tasks import ClassificationConfig, Classifier, TrainingConfig, TrainingProgress, train_classifier
from zoovet.tasks.picture_moves import PictureMoveConfig
from zoovet.zoo import Zoo

TINY = ScaleGMNConfig(width=8, num_layers=1, num_outputs=2)
Config = Callable[..., TrainingConfig]


@pytest.fixture(scope="module")
def zoo(make_inr_zoo: Callable[..., Zoo]) -> Zoo:
    return make_inr_zoo()


@pytest.fixture(scope="module")
def trained(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 40 steps."""
    out = tmp_path_factory.mktemp("classifier")
    training = TrainingConfig(
        max_steps=40, validation_interval=20, batch_size=8, learning_rate=1e-2, warmup_steps=5, average_decay=0.0
    )
    train_classifier(ClassificationConfig(metanetwork=TINY, training=training), zoo, out)
    return out


def tensors(classifier: Classifier) -> list[torch.Tensor]:
    return list(classifier.metanetwork.state_dict().values())


def same(first: Classifier, second: Classifier) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(first), tensors(second), strict=True))


def test_it_learns_what_distinguishes_the_classes(zoo: Zoo, trained: Path) -> None:
    classifier, validation = Classifier.load(trained), zoo.split("validation")
    logits = classifier.predict(validation.networks())
    assert logits.shape == (8, 2)
    accuracy = (logits.argmax(dim=1).numpy() == validation.column("label")).mean()
    assert accuracy == classifier.description["validation"]["accuracy"]
    assert accuracy > 0.8
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(validation.column("label")))
    assert float(loss) == pytest.approx(classifier.description["validation"]["loss"], rel=1e-5)


def test_a_classifier_loads_exactly_and_predicts_in_order_whatever_the_pieces(zoo: Zoo, trained: Path) -> None:
    first, second = Classifier.load(trained), Classifier.load(trained / "checkpoint.safetensors")
    networks = zoo.networks()
    whole = first.predict(networks)
    assert torch.equal(whole, second.predict(networks))
    torch.testing.assert_close(first.predict(networks, batch_size=3), whole)
    torch.testing.assert_close(first.predict([networks[30:], networks[:30]]), torch.cat([whole[30:], whole[:30]]))
    assert not first.canonicalized


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(zoo: Zoo, training: Config, tmp_path: Path) -> None:
    """SIRENs that are moved at random, so that each process must draw the moves of the whole batch."""
    augmentation = PictureMoveConfig(max_shift=0.1, mirror=True)

    def losses(processes: int) -> list[float]:
        seen: dict[int, float] = {}
        config = ClassificationConfig(
            metanetwork=TINY, training=training(batch_size=8, processes=processes), augmentation=augmentation
        )

        def told(progress: TrainingProgress) -> None:
            seen.setdefault(progress.step, progress.loss)

        train_classifier(config, zoo, tmp_path / str(processes), progress=told)
        return [seen[step] for step in sorted(seen)]

    assert losses(2) == pytest.approx(losses(1), rel=1e-5)


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(zoo: Zoo, training: Config, tmp_path: Path) -> None:
    for metanetwork in (TINY, FlatMLPConfig(width=8, num_layers=1, num_outputs=2, dropout=0.2)):
        augmentation = PictureMoveConfig(max_shift=0.1, mirror=True)
        config = ClassificationConfig(
            metanetwork=metanetwork, training=training(), augmentation=augmentation, layer_units=True
        )

        def interrupt(progress: TrainingProgress) -> None:
            if progress.step == 5:
                raise KeyboardInterrupt

        cut = tmp_path / f"cut-{metanetwork.kind}"
        with pytest.raises(KeyboardInterrupt):
            train_classifier(config, zoo, cut, progress=interrupt)
        whole = train_classifier(config, zoo, tmp_path / f"whole-{metanetwork.kind}")
        assert same(train_classifier(config, zoo, cut), whole)
        assert whole.description["metanetwork"]["kind"] == metanetwork.kind
        units = whole.metanetwork.units
        weights = torch.cat([network.weights[1] for network in zoo.split("train").networks()])
        torch.testing.assert_close(units[1, 0], weights.square().mean().sqrt())


def test_the_checkpoint_never_depends_on_test_networks(
    make_inr_zoo: Callable[..., Zoo], training: Config, tmp_path: Path
) -> None:
    def garble(row: dict[str, Any]) -> None:
        if row["split"] == "test":
            row.update(weights=-3 * row["weights"], label=-1)

    config = ClassificationConfig(metanetwork=TINY, training=training())
    plain, garbled = (
        train_classifier(config, make_inr_zoo(change=change), tmp_path / name)
        for name, change in (("plain", lambda _: None), ("garbled", garble))
    )
    assert same(plain, garbled)


def test_validation_without_improvement_ends_the_training(zoo: Zoo, training: Config, tmp_path: Path) -> None:
    steps: list[int] = []
    config = ClassificationConfig(
        metanetwork=TINY, training=training(max_steps=40, learning_rate=1e-12, average_decay=0.0, patience=2)
    )
    train_classifier(config, zoo, tmp_path, progress=lambda progress: steps.append(progress.step))
    assert max(steps) < 40


def phase_shifted(networks: Networks) -> Networks:
    """The same functions: half a turn more in the first layer's even neurons, a whole one less in the second's."""
    turn = math.pi / 30
    first, second, *rest = networks.biases
    flipped = networks.weights[1].clone()
    flipped[:, :, ::2] *= -1
    moved = first.clone()
    moved[:, ::2] += turn
    return Networks.from_layers(
        networks.graph, (networks.weights[0], flipped, *networks.weights[2:]), (moved, second - 2 * turn, *rest)
    )


@pytest.mark.parametrize("augmentation", [PictureMoveConfig(), PictureMoveConfig(max_shift=0.5)])
def test_canonicalized_training_and_prediction_forget_phases(
    zoo: Zoo, training: Config, tmp_path: Path, augmentation: PictureMoveConfig
) -> None:
    config = ClassificationConfig(
        metanetwork=FlatMLPConfig(width=8, num_outputs=2), training=training(), augmentation=augmentation
    )
    plain = train_classifier(config, zoo, tmp_path / "plain")
    canonical = train_classifier(config, zoo, tmp_path / "canonical", canonicalized=True)
    networks = zoo.networks()
    shifted = phase_shifted(networks)
    torch.testing.assert_close(canonical.predict(shifted), canonical.predict(networks), rtol=1e-3, atol=1e-4)
    assert (plain.predict(shifted) - plain.predict(networks)).abs().max() > 0.01
    assert Classifier.load(tmp_path / "canonical").canonicalized
    with pytest.raises(ZoovetError, match="a finished run with another canonicalized: True there, False now"):
        train_classifier(config, zoo, tmp_path / "canonical")


def test_zoos_that_cannot_be_learned_from_are_refused(make_inr_zoo: Callable[..., Zoo], tmp_path: Path) -> None:
    def unlabelled(row: dict[str, Any]) -> None:
        del row["label"]

    config = ClassificationConfig(metanetwork=TINY)
    with pytest.raises(ZoovetError, match=r"24 of 24 networks of the zoo .* have no label, the first '00000-0'"):
        train_classifier(config, make_inr_zoo(change=unlabelled), tmp_path)
    with pytest.raises(ZoovetError, match=r"all training networks of the zoo .* have the label 3; there is nothing to"):
        train_classifier(config, make_inr_zoo(labels=(3,) * 20), tmp_path)
    message = (
        r"'00003-0' of the zoo .* has the label 4, but the metanetwork tells 2 classes apart \(0 to 1\); set .* 5 or"
    )
    with pytest.raises(ZoovetError, match=message):
        train_classifier(config, make_inr_zoo(labels=(0, 1, 1, 4, 0) * 4), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metanetwork": ScaleGMNConfig(output="weights")}, "num_outputs of at least 2, .* got 'weights' and 1"),
        ({"metanetwork": FlatMLPConfig()}, "num_outputs of at least 2, .* got 'graph' and 1"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be at least 0 and below 1, got 1.0"),
    ],
)
def test_configurations_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        ClassificationConfig(**options)


def test_strangers_nan_and_nothing_are_refused(zoo: Zoo, trained: Path) -> None:
    classifier, networks = Classifier.load(trained), zoo.networks()[:2]
    stranger = siren((2, 4, 1))
    with pytest.raises(
        ZoovetError, match=r"this classifier was not trained on such networks. Given: 2 → linear 4 sine"
    ):
        classifier.predict(Networks.from_flat(stranger, torch.zeros(1, stranger.num_parameters)))
    with pytest.raises(ZoovetError, match="the networks given: network 0 has NaN"):
        classifier.predict(networks.map(lambda values: values * torch.nan))
    with pytest.raises(ZoovetError, match="no networks were given"):
        classifier.predict([])


def test_a_classifier_loads_without_lightning(trained: Path) -> None:
    code = (
        "import sys; from zoovet import Classifier; Classifier.load(sys.argv[1]); "
        "print([name for name in ('lightning', 'sklearn', 'cv2') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(trained)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
