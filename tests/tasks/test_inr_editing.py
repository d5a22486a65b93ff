"""Training an editor of SIRENs: from doing nothing towards the edited source images, and what cannot be edited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.metanets import FlatMLPConfig, ScaleGMNConfig
from zoovet.networks import Networks, siren
from zoovet.tasks import EditingConfig, InrEditor, TrainingConfig, TrainingProgress, train_inr_editor
from zoovet.tasks.edited_images import edited
from zoovet.zoo import Zoo
from zoovet.zoo.inr_pictures import pictures

TINY = ScaleGMNConfig(output="weights", width=8, num_layers=2, out_scale=0.01)
Config = Callable[..., TrainingConfig]


@pytest.fixture(scope="module")
def zoo(make_inr_zoo: Callable[..., Zoo]) -> Zoo:
    return make_inr_zoo()


@pytest.fixture(scope="module")
def shown(zoo: Zoo) -> Images:
    """What the zoo's SIRENs show, as a dataset."""
    shows = (pictures(zoo.networks(), 8, 8).clamp(0, 1) * 255).round().to(torch.uint8)
    return Images(name="digits", pixels=shows, labels=torch.from_numpy(zoo.column("label")), num_classes=10)


@pytest.fixture(scope="module")
def trained(zoo: Zoo, shown: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 60 steps."""
    out = tmp_path_factory.mktemp("editor")
    training = TrainingConfig(
        max_steps=60, validation_interval=30, batch_size=8, learning_rate=1e-2, warmup_steps=5, average_decay=0.0
    )
    train_inr_editor(EditingConfig(metanetwork=TINY, training=training), zoo, shown, out)
    return out


def error(networks: Networks, images: Images, places: Any) -> float:
    targets = edited(images.pixels, "dilation")[torch.from_numpy(places)].float() / 255
    return float((pictures(networks, 8, 8) - targets).square().mean())


def test_edits_come_nearer_to_the_edited_images_than_doing_nothing(zoo: Zoo, shown: Images, trained: Path) -> None:
    validation, editor = zoo.split("validation"), InrEditor.load(trained)
    own, places = validation.networks(), validation.column("image_index")
    before = own.flat().clone()
    after = editor.edit(own)
    figures = editor.description["validation"]
    assert error(own, shown, places) == pytest.approx(figures["mse_of_nothing"], rel=1e-4)
    assert error(after, shown, places) == pytest.approx(figures["mse"], rel=1e-4)
    assert figures["mse"] < 0.9 * figures["mse_of_nothing"]
    assert figures["share_of_nothing"] == pytest.approx(figures["mse"] / figures["mse_of_nothing"])
    assert torch.equal(own.flat(), before)


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(zoo: Zoo, shown: Images, training: Config, tmp_path: Path) -> None:
    def losses(processes: int) -> list[float]:
        seen: dict[int, float] = {}
        config = EditingConfig(metanetwork=TINY, training=training(batch_size=8, processes=processes))

        def told(progress: TrainingProgress) -> None:
            seen.setdefault(progress.step, progress.loss)

        train_inr_editor(config, zoo, shown, tmp_path / str(processes), progress=told)
        return [seen[step] for step in sorted(seen)]

    assert losses(2) == pytest.approx(losses(1), rel=1e-5)


def test_an_editor_begins_by_doing_almost_nothing(zoo: Zoo, shown: Images, training: Config, tmp_path: Path) -> None:
    config = EditingConfig(
        metanetwork=replace(TINY, out_scale=1e-4), training=training(max_steps=1, learning_rate=1e-12)
    )
    figures = train_inr_editor(config, zoo, shown, tmp_path).description["validation"]
    assert figures["share_of_nothing"] == pytest.approx(1, abs=0.02)
    assert figures["share_of_nothing"] != 1


def test_an_editor_loads_exactly_and_keeps_order_and_precision(zoo: Zoo, trained: Path) -> None:
    first, second = InrEditor.load(trained), InrEditor.load(trained / "checkpoint.safetensors")
    own = zoo.networks()
    whole = first.edit(own)
    assert torch.equal(whole.flat(), second.edit(own).flat())
    torch.testing.assert_close(first.edit(own, batch_size=3).flat(), whole.flat())
    parts = first.edit([own[30:], own[:30].to(dtype=torch.float64)])
    assert [part.dtype for part in parts] == [torch.float32, torch.float64]
    torch.testing.assert_close(parts[1].flat().float(), whole[:30].flat())


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(
    zoo: Zoo, shown: Images, training: Config, tmp_path: Path
) -> None:
    config = EditingConfig(metanetwork=TINY, training=training(), edit="contrast", layer_units=True)

    def interrupt(progress: TrainingProgress) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_inr_editor(config, zoo, shown, tmp_path / "cut", progress=interrupt)
    whole = train_inr_editor(config, zoo, shown, tmp_path / "whole", canonicalized=False)
    resumed = train_inr_editor(config, zoo, shown, tmp_path / "cut")
    assert torch.equal(whole.edit(zoo.networks()).flat(), resumed.edit(zoo.networks()).flat())


def test_a_canonicalizing_editor_adds_its_change_to_the_canonical_weights(
    zoo: Zoo, shown: Images, training: Config, tmp_path: Path
) -> None:
    config = EditingConfig(metanetwork=TINY, training=training())
    editor = train_inr_editor(config, zoo, shown, tmp_path, canonicalized=True)
    assert InrEditor.load(tmp_path).canonicalized
    own = zoo.networks()
    whole_turns = Networks.from_layers(own.graph, own.weights, (own.biases[0] + 2 * torch.pi / 30, *own.biases[1:]))
    torch.testing.assert_close(editor.edit(whole_turns).flat(), editor.edit(own).flat(), rtol=1e-3, atol=1e-4)


def test_copies_are_no_sources(make_inr_zoo: Callable[..., Zoo], zoo: Zoo, shown: Images, tmp_path: Path) -> None:
    def copied(row: dict[str, Any]) -> None:
        row["copy"] = int(row["image_index"] in (1, 6, 7))

    config = EditingConfig(metanetwork=TINY, training=TrainingConfig(max_steps=1, batch_size=2))
    facts = [
        train_inr_editor(config, some, shown, tmp_path / name).description["zoo"]
        for name, some in (("all", zoo), ("some", make_inr_zoo(change=copied)))
    ]
    assert [(fact["num_train"], fact["num_validation"]) for fact in facts] == [(24, 8), (21, 8)]


def test_zoos_and_images_that_do_not_fit_are_refused(
    make_inr_zoo: Callable[..., Zoo], zoo: Zoo, shown: Images, tmp_path: Path
) -> None:
    config = EditingConfig(metanetwork=TINY)
    few = shown[torch.arange(12)]
    message = (
        r"network '00012-0' of the zoo .* shows image 12, but 'digits' has 12 images \(0 to 11\); give the dataset"
    )
    with pytest.raises(ZoovetError, match=message):
        train_inr_editor(config, zoo, few, tmp_path)
    shuffled = replace(shown, labels=shown.labels.roll(1))
    message = r"network '00000-0' of the zoo .* has the label 0, but image 0 of 'digits' has 1; give the dataset that"
    with pytest.raises(ZoovetError, match=message):
        train_inr_editor(config, zoo, shuffled, tmp_path)
    colour = replace(shown, pixels=shown.pixels.expand(-1, 3, -1, -1))
    message = r"images of 'digits' \(3 × 8 × 8\) do not fit the networks of the zoo .*: 2 → .*; an INR of them maps 2 "
    with pytest.raises(ZoovetError, match=message):
        train_inr_editor(config, zoo, colour, tmp_path)

    def without_index(row: dict[str, Any]) -> None:
        del row["image_index"]

    with pytest.raises(ZoovetError, match=r"24 of 24 networks of the zoo .* have no image_index"):
        train_inr_editor(config, make_inr_zoo(change=without_index), shown, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metanetwork": ScaleGMNConfig()}, "editing needs a metanetwork with output 'weights', got 'graph'"),
        ({"metanetwork": FlatMLPConfig()}, "editing needs a metanetwork with output 'weights', got 'graph'"),
        ({"edit": "blur"}, "edit must be 'dilation' or 'contrast', got 'blur'"),
    ],
)
def test_configurations_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        EditingConfig(**options)


def test_strangers_are_refused(trained: Path) -> None:
    graph = siren((2, 4, 1))
    with pytest.raises(ZoovetError, match="this editor of INRs was not trained on such networks"):
        InrEditor.load(trained).edit(Networks.from_flat(graph, torch.zeros(1, graph.num_parameters)))
