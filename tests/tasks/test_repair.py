"""Repair end to end on a tiny zoo: it lowers its loss, keeps symmetry, loads exactly, refuses misfits."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Networks, mlp
from zoovet.symmetry import random_action
from zoovet.tasks.augmentation import AugmentationConfig
from zoovet.tasks.detector import Detector
from zoovet.tasks.edit_sizes import EditSize, scale_free_changes
from zoovet.tasks.editor import Editor
from zoovet.tasks.image_pool import ImagePool
from zoovet.tasks.last_layer_refit import LastLayerRefit, RefitConfig
from zoovet.tasks.population import load_populations
from zoovet.tasks.repair import RepairModule, train_repairer
from zoovet.tasks.repair_config import ClosingLosses, RepairConfig
from zoovet.tasks.repairer import TrainedRepairer
from zoovet.tasks.training_config import TrainingConfig, TrainingProgress
from zoovet.zoo import Zoo

Config = Callable[..., TrainingConfig]
TINY = ScaleGMNConfig(width=8, num_layers=2, output="weights", direction="forward", out_scale=0.1)
GATE = ScaleGMNConfig(width=4, num_layers=1, direction="forward")


class Constant(nn.Module):
    """Changes every number by the same amount; it remembers what it was given."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(amount))
        self.seen: list[list[Networks]] = []

    def forward(self, networks: list[Networks]) -> list[Networks]:
        self.seen.append(networks)
        return [batch.map(lambda tensor: torch.zeros_like(tensor) + self.amount) for batch in networks]


@pytest.fixture
def config(training: Config) -> Callable[..., RepairConfig]:
    """A repair of a few steps."""

    def make(**options: Any) -> RepairConfig:
        defaults = {"metanetwork": TINY, "training": training(), "num_clean_images": 4, "num_triggered_images": 3}
        return RepairConfig(**(defaults | {"num_validation_images": 30} | options))

    return make


@pytest.fixture(scope="module")
def trained(zoo: Zoo, images: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a gated repairer of a few steps."""
    folder = tmp_path_factory.mktemp("repairer")
    training = TrainingConfig(max_steps=4, validation_interval=2, batch_size=4, warmup_steps=2)
    config = RepairConfig(metanetwork=TINY, gate=GATE, training=training, num_validation_images=30)
    train_repairer(config, zoo, images, folder)
    return folder


def module_of(
    zoo: Zoo, images: Images, config: RepairConfig, amount: float = 0.0, refit: LastLayerRefit | None = None
) -> tuple[RepairModule, Constant]:
    train, validation = load_populations(zoo)
    changes = Constant(amount)
    pools = ImagePool.split(images, config.num_validation_images, config.training.seed)
    return RepairModule(Editor(changes, refit=refit), train, validation, pools, config), changes


@pytest.mark.parametrize("loss", ["function", "weights"])
def test_it_learns(
    zoo: Zoo, images: Images, config: Callable[..., RepairConfig], training: Config, tmp_path: Path, loss: str
) -> None:
    reports: list[TrainingProgress] = []
    some = training(max_steps=30, validation_interval=30, batch_size=8, learning_rate=2e-2)
    learned = train_repairer(config(loss=loss, training=some), zoo, images, tmp_path, progress=reports.append)
    module, _ = module_of(zoo, images, config(loss=loss, training=some))
    module.model = learned.editor
    assert module.loss_at(0)[0].item() < 0.95 * reports[0].loss


def test_the_loss_is_the_weighted_sum_of_its_parts(
    zoo: Zoo, images: Images, config: Callable[..., RepairConfig]
) -> None:
    def loss(**changes: float) -> tuple[float, dict[str, float]]:
        total, figures = module_of(zoo, images, config(**changes), amount=0.1)[0].loss_at(0)
        return float(total.detach()), figures

    without, figures = loss()
    with_errors, _ = loss(error_weight=2.0)
    assert 0 < figures["error_loss"] < 1
    assert with_errors - without == pytest.approx(2 * figures["error_loss"], abs=1e-5)
    for name in ("sibling_share", "triggered_sibling_share"):
        all_told, half_told = (loss(**{name: share})[0] for share in (1.0, 0.5))
        assert abs(all_told - without) > 1e-3
        assert half_told == pytest.approx((without + all_told) / 2, rel=1e-5)


def test_the_closing_has_losses_of_its_own(
    zoo: Zoo, images: Images, config: Callable[..., RepairConfig], training: Config
) -> None:
    def loss(step: int, **changes: Any) -> float:
        some = training(max_steps=10, closing_share=0.2)
        return float(module_of(zoo, images, config(training=some, **changes), amount=0.1)[0].loss_at(step)[0].detach())

    closing = ClosingLosses(error_weight=2.0, sibling_share=0.5)
    assert loss(7, closing=closing) == loss(7)
    assert loss(8, closing=closing) == loss(8, error_weight=2.0, sibling_share=0.5) != loss(8)


def test_a_repairer_loads_exactly_and_says_what_it_was_chosen_by(trained: Path, suspects: list[Networks]) -> None:
    first, second = TrainedRepairer.load(trained), TrainedRepairer.load(trained / "checkpoint.safetensors")
    repaired = first.repair(suspects)
    for own, once, again in zip(suspects, repaired, second.repair(suspects), strict=True):
        assert torch.equal(once.flat(), again.flat())
        assert once.graph == own.graph
        assert not torch.equal(once.flat(), own.flat())
        assert not once.flat().requires_grad
    figures = first.description["validation"]
    assert {"asr_after", "clean_accuracy_after", "ra_after", "healthy_accuracy_after", "score"} <= figures.keys()
    assert first.description["images"] == {"name": "digits", "num_images": 1442}


def test_networks_keep_their_order_form_and_precision(trained: Path, suspects: list[Networks]) -> None:
    repairer = TrainedRepairer.load(trained)
    one = repairer.repair(suspects[0])
    assert isinstance(one, Networks)
    torch.testing.assert_close(repairer.repair(suspects, batch_size=2)[0].flat(), one.flat())
    double = repairer.repair(suspects[0].to(dtype=torch.float64))
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.flat().float(), one.flat())


def test_repair_commutes_with_the_networks_symmetries(trained: Path, suspects: list[Networks]) -> None:
    repairer = TrainedRepairer.load(trained)
    repairer.editor.double()
    for networks in (batch.to(dtype=torch.float64) for batch in suspects):
        action = random_action(networks.graph, len(networks), torch.Generator().manual_seed(3), max_log_scale=1.0)
        with torch.no_grad():
            moved_then_edited = repairer.editor([action(networks)]).edited[0]
            edited_then_moved = action(repairer.editor([networks]).edited[0])
        torch.testing.assert_close(moved_then_edited.flat(), edited_then_moved.flat(), rtol=1e-9, atol=1e-10)


def test_networks_it_was_not_trained_on_are_refused(trained: Path, suspects: list[Networks]) -> None:
    graph = mlp((4, 3, 2))
    with pytest.raises(ZoovetError, match=r"this repairer was not trained on such networks. Given: 4 → linear 3 relu"):
        TrainedRepairer.load(trained).repair(Networks.from_flat(graph, torch.zeros(1, graph.num_parameters)))
    suspects[0].weights[1][2] = torch.inf
    with pytest.raises(ZoovetError, match="network 2 has NaN or infinite weights in layer 1"):
        TrainedRepairer.load(trained).repair(suspects)


def test_a_repairer_is_no_detector(trained: Path) -> None:
    with pytest.raises(ZoovetError, match="holds a repairer, but a detector is needed"):
        Detector.load(trained)


def test_an_interrupted_repair_resumes_exactly(
    zoo: Zoo, images: Images, config: Callable[..., RepairConfig], tmp_path: Path
) -> None:
    def interrupt(progress: TrainingProgress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    whole: list[TrainingProgress] = []
    rest: list[TrainingProgress] = []
    train_repairer(config(gate=GATE), zoo, images, tmp_path / "whole", progress=whole.append)
    with pytest.raises(KeyboardInterrupt):
        train_repairer(config(gate=GATE), zoo, images, tmp_path / "parts", progress=interrupt)
    train_repairer(config(gate=GATE), zoo, images, tmp_path / "parts", progress=rest.append)
    facts = [[(report.step, report.loss, report.figures) for report in reports] for reports in (whole, rest)]
    assert facts[1] == facts[0][-len(facts[1]) :]
    assert rest[0].step == 3


def test_batches_hold_their_share_of_trojaned_networks(
    zoo: Zoo, images: Images, config: Callable[..., RepairConfig], training: Config
) -> None:
    module, changes = module_of(zoo, images, config(training=training(batch_size=10)))
    train, _ = load_populations(zoo)
    everything = train.batch(torch.arange(len(train)))
    trojaned = {
        tuple(flat)
        for networks, indices in zip(
            everything.networks, everything.indices.split([len(some) for some in everything.networks]), strict=True
        )
        for flat, is_trojaned in zip(networks.flat().tolist(), train.trojaned[indices], strict=True)
        if is_trojaned
    }
    for step in range(4):
        module.loss_at(step)
    for seen in changes.seen:
        flats = [tuple(flat) for networks in seen for flat in networks.flat().tolist()]
        assert len(flats) == 10
        assert sum(flat in trojaned for flat in flats) == 7


def test_the_function_loss_adds_up_from_its_parts(
    zoo: Zoo, images: Images, config: Callable[..., RepairConfig]
) -> None:
    def at(**options: float) -> tuple[float, dict[str, float]]:
        module, _ = module_of(zoo, images, config(**options), amount=0.2)
        loss, figures = module.loss_at(3)
        return loss.item(), figures

    whole, figures = at(triggered_weight=1.0, keep_weight=1.0)
    clean_alone, _ = at(triggered_weight=0.0, keep_weight=0.0)
    kept_twice, _ = at(triggered_weight=1.0, keep_weight=2.0)
    without_kept, _ = at(triggered_weight=1.0, keep_weight=0.0)
    assert clean_alone == pytest.approx(figures["clean_loss"], rel=1e-5)
    assert kept_twice - whole == pytest.approx(whole - without_kept, rel=1e-3)
    healthy_share = 2 / 6
    assert whole - without_kept == pytest.approx(healthy_share * figures["kept_loss"], rel=1e-3)
    assert figures["kept_loss"] > 0
    attacked, _ = at(triggered_weight=1.0, keep_weight=1.0, attack_weight=2.0)
    trojaned_share = 4 / 6
    assert attacked - whole == pytest.approx(2 * trojaned_share * figures["attack_loss"], rel=1e-3)
    assert figures["attack_loss"] > 0


def test_no_change_leaves_healthy_answers_and_weights_as_they_are(
    zoo: Zoo, images: Images, config: Callable[..., RepairConfig]
) -> None:
    module, _ = module_of(zoo, images, config())
    assert module.loss_at(0)[1]["kept_loss"] == pytest.approx(0.0, abs=1e-7)
    validation = module.validate(module.model)
    assert validation.figures["clean_accuracy_lost"] == validation.figures["healthy_accuracy_lost"] == 0
    assert validation.figures["asr_before"] == validation.figures["asr_after"] == validation.figures["score"]


def test_accuracy_lost_counts_against_a_checkpoint(
    zoo: Zoo, images: Images, config: Callable[..., RepairConfig]
) -> None:
    module, _ = module_of(zoo, images, config(accuracy_weight=3.0), amount=1.0)
    figures = module.validate(module.model).figures
    lost = max(0.0, figures["clean_accuracy_before"] - figures["clean_accuracy_after"])
    lost += max(0.0, figures["healthy_accuracy_before"] - figures["healthy_accuracy_after"])
    assert lost > 0
    assert figures["score"] == pytest.approx(figures["asr_after"] + 3 * lost)


def test_the_best_strength_is_chosen_and_used(
    zoo: Zoo, images: Images, config: Callable[..., RepairConfig], tmp_path: Path, suspects: list[Networks]
) -> None:
    strengths = (0.0625, 0.5, 2.0)
    one_by_one = []
    for strength in strengths:
        module, _ = module_of(zoo, images, config(strengths=(strength,)), amount=0.3)
        one_by_one.append(module.validate(module.model).figures)
        by_hand, _ = module_of(zoo, images, config(), amount=0.3 * strength)
        assert one_by_one[-1]["asr_after"] == pytest.approx(by_hand.validate(by_hand.model).figures["asr_after"])
    assert len({figures["asr_after"] for figures in one_by_one}) > 1
    module, _ = module_of(zoo, images, config(strengths=strengths), amount=0.3)
    assert module.validate(module.model).figures == min(one_by_one, key=lambda figures: figures["score"])

    repairer = train_repairer(config(strengths=(0.5,)), zoo, images, tmp_path)
    assert repairer.editor.strength == repairer.description["validation"]["strength"] == 0.5
    whole = [own + change for own, change in zip(suspects, repairer.editor.changes(suspects), strict=True)]
    for own, half, full in zip(suspects, repairer.repair(suspects), whole, strict=True):
        torch.testing.assert_close(half.flat(), (own.flat() + full.flat()) / 2)


def test_the_last_layer_is_refitted_after_the_change(
    zoo: Zoo, images: Images, config: Callable[..., RepairConfig], tmp_path: Path, suspects: list[Networks]
) -> None:
    some = config(refit=RefitConfig(images_per_class=5), strengths=(0.5, 2.0))
    repairer = train_repairer(some, zoo, images, tmp_path)
    editor = repairer.editor
    assert editor.refit is not None
    assert float(editor.refit.log_penalty) != pytest.approx(math.log(some.refit.penalty), abs=1e-6)  # it learned
    _, held_out = ImagePool.split(images, some.num_validation_images, some.training.seed)
    assert not {image.numpy().tobytes() for image in editor.refit.images} & {
        image.numpy().tobytes() for image in held_out.images
    }
    for own, repaired in zip(suspects, TrainedRepairer.load(tmp_path).repair(suspects), strict=True):
        change = editor.changes([own])[0].map(lambda tensor: editor.strength * tensor)
        torch.testing.assert_close(repaired.flat(), editor.refit(own + change).flat())
        assert not torch.equal(repaired.flat(), (own + change).flat())

    module, _ = module_of(zoo, images, config(), amount=0.3)
    plain = module.validate(module.model).figures
    module, _ = module_of(zoo, images, config(), amount=0.3, refit=editor.refit)
    assert module.validate(module.model).figures["clean_accuracy_after"] > plain["clean_accuracy_after"]


def test_an_asr_that_is_low_enough_counts_for_nothing(
    zoo: Zoo, images: Images, config: Callable[..., RepairConfig]
) -> None:
    module, _ = module_of(zoo, images, config(target_asr=0.99, accuracy_weight=0.0), amount=0.1)
    figures = module.validate(module.model).figures
    assert figures["asr_after"] < 0.99
    assert figures["score"] == pytest.approx(0.99)


def test_views_are_undone_before_edits_are_judged(
    zoo: Zoo, images: Images, config: Callable[..., RepairConfig]
) -> None:
    """An edit that is the same for every weight is the same in every view, so its loss must be, too."""
    augmentation = AugmentationConfig(kernel_symmetries=True, class_permutations=True)
    for loss in ("function", "weights"):
        plain, plain_changes = module_of(zoo, images, config(loss=loss), amount=0.2)
        turned, turned_changes = module_of(zoo, images, config(loss=loss, augmentation=augmentation), amount=0.2)
        assert turned.loss_at(2)[0].item() == pytest.approx(plain.loss_at(2)[0].item(), rel=1e-5)
        assert not torch.equal(plain_changes.seen[0][0].flat(), turned_changes.seen[0][0].flat())


def test_the_weight_loss_wants_the_healthy_sibling(
    zoo: Zoo, images: Images, config: Callable[..., RepairConfig]
) -> None:
    module, changes = module_of(zoo, images, config(loss="weights"))
    loss, _ = module.loss_at(0)
    train, _ = load_populations(zoo)
    everything = train.batch(torch.arange(len(train)))
    flats = torch.cat([some.flat() for some in everything.networks])
    expected = []
    for networks in changes.seen[0]:
        for network in networks:
            place = int(everything.indices[(flats == network.flat()).all(dim=1)])
            healthy = int(train.sibling_of[place]) if train.trojaned[place] else place
            (wanted,) = train.batch(torch.tensor([healthy])).networks
            layers = zip(network.weights, network.biases, wanted.weights, wanted.biases, strict=True)
            expected.append(
                sum(
                    ((weight - other_weight).square().sum() + (bias - other_bias).square().sum())
                    / (weight.square().sum() + bias.square().sum())
                    for weight, bias, other_weight, other_bias in layers
                )
                / len(network.weights)
            )
    assert loss.item() == pytest.approx(float(torch.stack(expected).mean()), rel=1e-5)


def test_weight_loss_needs_siblings(
    make_zoo: Callable[..., Zoo], images: Images, config: Callable[..., RepairConfig], tmp_path: Path
) -> None:
    def part(row: dict[str, Any]) -> None:
        row["base_id"] += 100 * row["poisoned"]

    with pytest.raises(ZoovetError, match="loss 'weights' needs trojaned networks whose healthy sibling is in the zoo"):
        train_repairer(config(loss="weights"), make_zoo(change=part), images, tmp_path)


def test_images_that_do_not_fit_are_refused(
    zoo: Zoo, images: Images, config: Callable[..., RepairConfig], tmp_path: Path
) -> None:
    wide = Images(
        name="wide",
        pixels=torch.zeros(50, 1, 8, 9, dtype=torch.uint8),
        labels=torch.zeros(50, dtype=torch.int64),
        num_classes=10,
    )
    with pytest.raises(ZoovetError, match=r"do not fit the training images: \(1, 8, 9\) with 1 labels"):
        train_repairer(config(), zoo, wide, tmp_path)
    few = images[torch.arange(30)]
    with pytest.raises(ZoovetError, match=r"30 validation images are asked for, but 'digits' has 30 training images"):
        train_repairer(config(), zoo, few, tmp_path)


def test_the_checkpoint_says_by_how_much_training_networks_are_changed(trained: Path, zoo: Zoo) -> None:
    repairer = TrainedRepairer.load(trained)
    train, _ = load_populations(zoo)
    assert set(repairer.edit_sizes) == set(repairer.graphs)
    for networks in train.batch(torch.arange(len(train))).networks:
        changes = scale_free_changes(networks, repairer.repair(networks))
        expected = EditSize.of(changes)
        assert expected is not None
        assert repairer.edit_sizes[networks.graph].limit == pytest.approx(expected.limit, rel=1e-4)
        assert repairer.edit_sizes[networks.graph].num_networks == len(networks)
        assert expected.limit >= float(changes.max()) > 0


def test_an_edit_that_is_not_finite_is_refused(
    trained: Path, suspects: list[Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(editor: object, batches: list[Networks], *rest: object) -> list[Networks]:
        return [batches[0], Networks.from_flat(batches[1].graph, batches[1].flat() / 0)]

    monkeypatch.setattr("zoovet.tasks.repairer.edited_networks", edit)
    with pytest.raises(ZoovetError, match=r"what the repairer says of network 0 is not finite \(\d of \d"):
        TrainedRepairer.load(trained).repair(suspects)
