"""Glyphs: the same bytes from the same seed, all classes alike, two splits that share nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from zoovet.errors import ZoovetError
from zoovet.images import Images, load_dataset
from zoovet.images import glyphs as module
from zoovet.images.alphabets import ALPHABETS
from zoovet.images.glyphs import GlyphConfig, draw_glyphs


def sha256(images: Images) -> str:
    return hashlib.sha256(images.pixels.numpy().tobytes() + images.labels.numpy().tobytes()).hexdigest()


def test_a_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    config, drawn = GlyphConfig(seed=5, size=16), []
    for attempt in range(2):
        module._masks.cache_clear()
        torch.manual_seed(attempt)
        drawn.append(sha256(draw_glyphs(config, 300)))
    assert drawn[0] == drawn[1]
    assert drawn[0] != sha256(draw_glyphs(replace(config, seed=6), 300))


@pytest.mark.parametrize("options", [{}, {"num_classes": 3, "color": True}])
def test_more_images_begin_with_the_fewer(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_PIXELS", 40 * 8 * 8)
    config = GlyphConfig(size=8, **options)
    few, many = draw_glyphs(config, 47), draw_glyphs(config, 200)
    assert torch.equal(few.pixels, many.pixels[:47])
    assert torch.equal(few.labels, many.labels[:47])
    assert len(many.pixels.flatten(1).unique(dim=0)) == 200, "one part is like another"


@pytest.mark.parametrize("num_classes", [2, 10, 36])
def test_classes_are_balanced_from_the_first_image_on(num_classes: int) -> None:
    labels = draw_glyphs(GlyphConfig(num_classes=num_classes, size=8), 5 * num_classes + 1).labels
    assert labels[:-1].bincount().tolist() == [5] * num_classes
    assert sorted(labels[:num_classes].tolist()) == list(range(num_classes))
    assert len(labels[:-1].reshape(5, num_classes).unique(dim=0)) > 1, "they come in one order again and again"


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_every_alphabets_letters_differ_in_every_font(alphabet: str) -> None:
    own = ALPHABETS[alphabet]
    masks = module._masks(48, alphabet, len(own.letters)).astype(np.float64)
    assert masks.shape[:2] == (len(own.fonts), len(own.letters))
    for font in masks.reshape(len(own.fonts), len(own.letters), -1):
        assert (font.sum(axis=1) > 255 * 40).all(), "a letter that the font lacks, or nothing"
        apart = np.abs(font[:, None] - font[None]).mean(axis=2) + 255 * np.eye(len(font))
        assert apart.min() > 1, "two letters look alike, as the sign for a missing one would"


def test_variants_look_otherwise_and_show_the_same_letters() -> None:
    plain = draw_glyphs(GlyphConfig(seed=1), 40)
    dark = draw_glyphs(GlyphConfig(seed=1, polarity="dark"), 40)
    assert torch.equal(dark.pixels, 255 - plain.pixels)
    either = draw_glyphs(GlyphConfig(seed=1, polarity="either"), 40)
    is_dark = (either.pixels == dark.pixels).flatten(1).all(dim=1)
    assert 8 < int(is_dark.sum()) < 32
    assert torch.equal(either.pixels[~is_dark], plain.pixels[~is_dark])
    cluttered = draw_glyphs(GlyphConfig(seed=1, clutter=0.8), 40)
    assert (cluttered.pixels.float() - plain.pixels.float()).flatten(1).abs().mean(dim=1).min() > 3
    assert all(torch.equal(one.required_labels, plain.required_labels) for one in (dark, either, cluttered))
    mixed = draw_glyphs(GlyphConfig(alphabet="mixed", num_classes=50, size=16, color=True), 100)
    assert (mixed.num_classes, mixed.label_names[-1], mixed.shape) == (50, "Ω", (3, 16, 16))


def test_train_and_test_share_no_image() -> None:
    config = GlyphConfig(num_classes=2, size=12)
    train, test = (draw_glyphs(config, 400, split=split).pixels.flatten(1) for split in ("train", "test"))
    together = torch.cat([train, test])
    assert len(together.unique(dim=0)) == 800


@pytest.mark.parametrize(("size", "color"), [(8, False), (28, True), (33, False), (300, True)])
def test_any_size_gray_or_colour(size: int, color: bool) -> None:
    images = draw_glyphs(GlyphConfig(size=size, color=color), 10)
    assert images.shape == (3 if color else 1, size, size)
    assert images.num_classes == 10
    middle = images.pixels[:, :, size // 4 : -(size // 4), size // 4 : -(size // 4)].float()
    border = torch.cat([images.pixels[:, :, :1].float(), images.pixels[:, :, -1:].float()], dim=2)
    assert middle.mean() > border.mean() + 10, "light letters stand in the middle of a dark ground"
    gray = images.pixels.float().std(dim=1, correction=0).max() if color else torch.tensor(0.0)
    assert (gray > 20) == color


def test_without_difficulty_a_class_looks_the_same_in_a_font() -> None:
    images = draw_glyphs(GlyphConfig(difficulty=0.0, num_classes=2), 400)
    ones = images.pixels[images.labels == 1].flatten(1)
    assert len(ones.unique(dim=0)) <= 20
    assert {int(ones.min()), int(ones.max())} == {20, 230}, "black and white are left to what is put on images"


def test_what_is_drawn_can_be_read_and_difficulty_makes_it_harder() -> None:
    accuracies = []
    for difficulty in (0.0, 0.5, 1.0):
        config = GlyphConfig(difficulty=difficulty, size=14)
        train, test = draw_glyphs(config, 1500), draw_glyphs(config, 500, split="test")
        features = [part.pixels.flatten(1).float().numpy() / 255 for part in (train, test)]
        line = LogisticRegression(max_iter=300, tol=1e-3).fit(features[0], train.labels.numpy())
        accuracies.append(line.score(features[1], test.labels.numpy()))
    assert accuracies[0] > 0.95
    assert accuracies[0] > accuracies[1] + 0.05 > accuracies[2] + 0.25
    assert accuracies[2] > 0.12


def test_every_class_is_drawn_in_every_font_and_whole() -> None:
    masks = module._masks(64, "latin", 36)
    assert masks.shape == (20, 36, 64, 64)
    assert (masks.max(axis=(2, 3)) > 150).all()
    assert masks[:, :, [0, -1]].max() == masks[:, :, :, [0, -1]].max() == 0, "nothing is cut off"
    for letters in masks:
        assert len(np.unique(letters.reshape(36, -1), axis=0)) == 36, "no two classes look the same"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"num_classes": 1},
            "num_classes of glyphs must lie in 2 to 36, the letters of the alphabet latin, got 1; mixed has 50",
        ),
        ({"num_classes": 37}, "num_classes of glyphs must lie in 2 to 36, the letters of the alphabet latin, got 37"),
        ({"size": 7}, "size of glyphs must be at least 8 pixels, got 7"),
        ({"difficulty": 1.5}, "difficulty of glyphs must lie in 0 to 1, got 1.5"),
        ({"difficulty": float("nan")}, "difficulty of glyphs must lie in 0 to 1, got nan"),
        ({"seed": -1}, "seed of glyphs must be at least 0, got -1"),
    ],
)
def test_bad_values_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        GlyphConfig(**options)


def test_bad_requests_are_named() -> None:
    with pytest.raises(ZoovetError, match="at least one glyph image must be drawn, got 0"):
        draw_glyphs(GlyphConfig(), 0)
    with pytest.raises(ZoovetError, match="split 'tests' of glyphs is unknown; did you mean 'test'"):
        draw_glyphs(GlyphConfig(), 1, split="tests")  # type: ignore[arg-type]


def test_fonts_that_are_missing_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZoovetError, match=r"the font .*DejaVuSans.ttf cannot be read .*; install matplotlib anew"):
        module._of_font(tmp_path / "DejaVuSans.ttf", 32, 2)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ZoovetError, match="glyphs are drawn from matplotlib's fonts, which are not there"):
        module._font_folder()


def test_the_dataset_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NUM_IMAGES", {"train": 200, "test": 100})
    module.glyphs.cache_clear()
    try:
        train, test = load_dataset("glyphs", "train"), load_dataset("glyphs", "test", grayscale=True)
        assert (train.name, len(train), len(test), train.num_classes) == ("glyphs", 200, 100, 10)
        assert train.shape == test.shape == (1, 28, 28)
        assert torch.equal(train.pixels, draw_glyphs(GlyphConfig(), 200).pixels)
        train.pixels.zero_()
        assert load_dataset("glyphs", "train").pixels.max() > 0, "what one caller does with it is its own business"
    finally:
        module.glyphs.cache_clear()
