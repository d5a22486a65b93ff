"""Textured shapes: from a seed, balanced, told apart by their outlines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.images import SHAPE_CLASSES, ShapeConfig, draw_shapes, load_dataset
from zoovet.images import shapes as module
from zoovet.images.sources import ImageSource, load_source


def test_a_seed_gives_the_same_images_and_another_others() -> None:
    config = ShapeConfig(size=16)
    assert torch.equal(draw_shapes(config, 60).pixels, draw_shapes(config, 60).pixels)
    for other in (draw_shapes(replace(config, seed=1), 60), draw_shapes(config, 60, split="test")):
        assert len(torch.cat([draw_shapes(config, 60).pixels, other.pixels]).flatten(1).unique(dim=0)) == 120


def test_more_images_begin_with_the_fewer_and_classes_are_balanced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_PIXELS", 40 * 8 * 8)
    config = ShapeConfig(size=8, num_classes=12, color=False)
    few, many = draw_shapes(config, 47), draw_shapes(config, 120)
    assert torch.equal(few.pixels, many.pixels[:47])
    assert many.required_labels.bincount().tolist() == [10] * 12
    assert (many.shape, many.label_names) == ((1, 8, 8), SHAPE_CLASSES)


def test_every_class_has_an_outline_of_its_own() -> None:
    masks = module._masks(len(SHAPE_CLASSES)).reshape(len(SHAPE_CLASSES), -1) / 255
    assert ((masks.mean(axis=1) > 0.05) & (masks.mean(axis=1) < 0.45)).all()
    apart = np.abs(masks[:, None] - masks[None]).mean(axis=2) + np.eye(len(masks))
    assert apart.min() > 0.02


@pytest.mark.parametrize("color", [False, True])
def test_shapes_stand_out_from_their_ground(color: bool) -> None:
    drawn = draw_shapes(ShapeConfig(num_classes=2, size=32, color=color, difficulty=0.0), 40)
    middle = drawn.pixels[:, :, 14:18, 14:18].float().mean(dim=(2, 3))
    corner = drawn.pixels[:, :, :4, :4].float().mean(dim=(2, 3))
    assert float((middle - corner).abs().min()) >= 65
    textured = draw_shapes(ShapeConfig(num_classes=2, size=32, color=color, difficulty=1.0), 40)
    assert float(textured.pixels.float().std(dim=(2, 3)).mean()) > float(drawn.pixels.float().std(dim=(2, 3)).mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 13}, "num_classes of shapes must lie in 2 to 12, got 13"),
        ({"size": 7}, "size of shapes must lie in 8 to 1024 pixels, got 7"),
        ({"difficulty": 1.1}, r"difficulty of shapes must lie in 0 to 1, got 1\.1"),
        ({"seed": -1}, "seed of shapes must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        ShapeConfig(**options)


def test_no_images_and_unknown_splits_are_refused() -> None:
    with pytest.raises(ZoovetError, match="at least one image of a shape must be drawn, got 0"):
        draw_shapes(ShapeConfig(), 0)
    with pytest.raises(ZoovetError, match="split 'tset' of shapes is unknown; did you mean 'test'"):
        draw_shapes(ShapeConfig(), 1, split="tset")  # type: ignore[arg-type]


def test_they_are_a_dataset_by_name_and_a_source_of_a_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (module, __import__("zoovet.images.datasets", fromlist=["_"])):
        monkeypatch.setattr(place, "NUM_SHAPES", {"train": 40, "test": 20})
    named = load_dataset("shapes", "test", grayscale=True)
    assert (len(named), named.shape, named.label_names) == (20, (1, 32, 32), SHAPE_CLASSES[:10])
    monkeypatch.setattr("zoovet.images.sources.reading.NUM_SHAPES", {"train": 40, "test": 20})
    train, _ = load_source(ImageSource(source="shapes", shapes=ShapeConfig(num_classes=4, size=16)))
    assert (len(train), train.shape, train.num_classes) == (40, (3, 16, 16), 4)
    with pytest.raises(ZoovetError, match="shapes says what drawn shapes look like, but source is 'digits'"):
        ImageSource(source="digits", shapes=ShapeConfig(size=9))
