"""What names and shapes leave open is found on labelled images, or asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import zoovet
from zoovet.architectures import OpenArchitecture
from zoovet.images import Images

NUM_IMAGES = 120


def pixels(count: int = NUM_IMAGES) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    """A state dict of a small MLP: nothing in it tells its activation."""
    torch.manual_seed(0)
    layers = {"fc1": (64, 24), "fc2": (24, 24), "fc3": (24, 6)}
    state = {}
    for name, (inputs, outputs) in layers.items():
        state[f"{name}.weight"] = 2.5 * torch.randn(outputs, inputs) / inputs**0.5
        state[f"{name}.bias"] = 0.5 * torch.randn(outputs)
    path = tmp_path / "mlp.pt"
    torch.save(state, path)
    return path


def answered_by(path: Path, activation: str, scaling: str, count: int = NUM_IMAGES) -> Images:
    """Images with the labels that the network with an activation and a scaling gives them."""
    true = zoovet.read(path, f"mlp:activation={activation}", scaling, input_shape=(1, 8, 8))
    shown = Images(pixels=pixels(count))
    return Images(pixels=shown.pixels, labels=true.predict(shown))


@pytest.mark.parametrize(("activation", "scaling"), [("tanh", "symmetric"), ("elu", "unit")])
def test_the_activation_and_the_scaling_are_those_that_get_labels_right(
    mlp: Path, activation: str, scaling: str
) -> None:
    images = answered_by(mlp, activation, scaling)
    found = zoovet.read(mlp, images=images)
    assert torch.equal(found.predict(images), images.required_labels)
    told = [note for note in found.notes if note.startswith("what names and shapes leave open was found on 120")]
    assert len(told) == 1
    assert f"mlp:activation={activation} gets 1.00 right" in told[0]


def test_labels_in_another_order_than_the_outputs_tell_it_too(mlp: Path) -> None:
    images = answered_by(mlp, "tanh", "symmetric")
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    shuffled = Images(pixels=images.pixels, labels=order[images.required_labels])
    found = zoovet.read(mlp, images=shuffled)
    assert torch.equal(found.predict(images), images.required_labels)
    assert any(
        "120 labelled images, whose labels are other outputs of the network: mlp:activation=tanh gets 1.00 right"
        in note
        for note in found.notes
    )


def test_what_was_given_is_not_asked_of_the_images(mlp: Path) -> None:
    images = answered_by(mlp, "tanh", "symmetric")
    found = zoovet.read(mlp, "mlp:activation=relu", "symmetric", images=images)
    assert not torch.equal(found.predict(images), images.required_labels)


def test_of_activations_that_answer_nearly_the_same_the_usual_one_is_taken(mlp: Path) -> None:
    images = answered_by(mlp, "leaky_relu", "unit")
    found = zoovet.read(mlp, images=images)
    assert any(note.endswith("(--architecture mlp:activation=relu)") for note in found.notes)
    assert any("nearly the same answers with mlp:activation=leaky_relu" in note for note in found.notes)


def test_labels_of_chance_tell_nothing(mlp: Path) -> None:
    labels = torch.randint(6, (NUM_IMAGES,), generator=torch.Generator().manual_seed(1))
    with pytest.raises(OpenArchitecture, match=r"activation no name or shape tells.*no more than chance") as caught:
        zoovet.read(mlp, images=Images(pixels=pixels(), labels=labels))
    assert "mlp:activation=relu" in caught.value.choices


def test_few_images_leave_it_open_and_the_likeliest_choice_is_offered_first(mlp: Path) -> None:
    images = answered_by(mlp, "silu", "unit", count=18)
    with pytest.raises(OpenArchitecture, match="no clear difference: give more images") as caught:
        zoovet.read(mlp, images=images)
    assert caught.value.choices[0] == "mlp:activation=silu"
    assert len(caught.value.choices) == len(set(caught.value.choices)) == 9


def test_a_network_that_labels_make_likelier_but_that_is_not_more_often_right_is_not_taken(mlp: Path) -> None:
    images = answered_by(mlp, "gelu", "unit")
    generator = torch.Generator().manual_seed(2)
    is_other = torch.rand(NUM_IMAGES, generator=generator) < 0.6  # a weak network: others are about as good
    others = torch.randint(6, (NUM_IMAGES,), generator=generator)
    noisy = Images(pixels=images.pixels, labels=torch.where(is_other, others, images.required_labels))
    with pytest.raises(OpenArchitecture, match="tried on 120 labelled images"):
        zoovet.read(mlp, images=noisy)


def test_images_without_labels_tell_nothing_and_nothing_is_said_of_them(mlp: Path) -> None:
    with pytest.raises(OpenArchitecture) as caught:
        zoovet.read(mlp, images=Images(pixels=pixels()))
    assert "tried" not in str(caught.value)
