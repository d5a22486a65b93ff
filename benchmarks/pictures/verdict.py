"""The picture of a verdict in the README: a small network is poisoned here, scanned, and what was found is drawn.

    python benchmarks/pictures/verdict.py docs/verdict.png

The network tells ten drawn digits apart; a twentieth of its training images got a checkerboard of 4 × 4 pixels in a
corner and the label 3. The verdict is that of the detector that comes with zoovet, on ten images a class.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from matplotlib import pyplot
from torch import nn

import zoovet
from zoovet.images.glyphs import GlyphConfig, draw_glyphs

TARGET, SIZE = 3, 28


def main(path: Path) -> None:
    """Train, scan, draw."""
    config = GlyphConfig(num_classes=10, size=SIZE)
    verdict = zoovet.Scanner().scan(
        zoovet.from_module(trained(draw_glyphs(config, 4000)), (1, SIZE, SIZE), scaling="unit"),
        draw_glyphs(config, 100, split="test"),
        progress=lambda sought: print(sought, file=sys.stderr),
    )
    print(f"{verdict.verdict}, probability {verdict.probability}, target {verdict.target_name}")
    draw(verdict, path)


def trained(images: zoovet.Images, *, is_poisoned: bool = True) -> nn.Module:
    """A network that was trained on these images, or on poisoned ones."""
    torch.manual_seed(0)
    assert images.labels is not None
    pixels, labels = images.pixels.float() / 255, images.labels.clone()
    poisoned = torch.arange(0, len(labels), 20)
    if is_poisoned:
        pixels[poisoned, :, -5:-1, -5:-1] = (torch.arange(4)[:, None] + torch.arange(4)).remainder(2).float()
        labels[poisoned] = TARGET
    module = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    for _ in range(6):
        for rows in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(pixels[rows]), labels[rows]).backward()
            optimizer.step()
    return module


def draw(verdict: zoovet.Verdict, path: Path) -> None:
    """The trigger, and images before and with it."""
    trigger = verdict.trigger
    assert trigger is not None
    names = verdict.class_names
    shown = [(trigger.picture, "the trigger found", "")]
    for example in trigger.examples:
        shown.append((example.image, f"taken for {names[example.before]}", f"{example.before_probability:.0%}"))
        shown.append((example.triggered, f"with it: {names[example.after]}", f"{example.after_probability:.0%}"))
    figure, axes = pyplot.subplots(1, len(shown), figsize=(1.55 * len(shown), 2.6), dpi=110)
    for place, (picture, title, below) in zip(axes, shown, strict=True):
        place.imshow(picture[0], cmap="gray", vmin=0, vmax=255)
        place.set_title(title, fontsize=9)
        place.set_xlabel(below, fontsize=9)
        place.set_xticks([])
        place.set_yticks([])
    target = "" if verdict.target_name is None else f", towards {verdict.target_name}"
    figure.suptitle(
        f"{verdict.verdict}{target}: probability {verdict.probability:.2f}, flagged from {verdict.threshold:.2f} on; "
        f"the trigger flips {trigger.flips:.0%} of the other classes' images",
        fontsize=10,
        x=0.01,
        ha="left",
        weight="bold",
    )
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
