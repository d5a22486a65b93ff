"""The pictures of docs/how-it-works.md: what the code does here with a small poisoned network and its healthy twin.

    python benchmarks/pictures/how_it_works.py docs/pictures

``how-sought.png``: how far each class stands out, by kind of search; ``how-healed.png``: what found triggers do before
and after healing; ``how-symmetric.png``: a network, the same with neurons exchanged and scaled, and what reads both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from verdict import SIZE, TARGET, trained

import zoovet
from zoovet.evidence import RunnableModule, class_evidence
from zoovet.images.glyphs import GlyphConfig, draw_glyphs
from zoovet.networks import InputScaling, Networks, mlp

_KINDS = {
    "patch": "patches",
    "pixels": "few pixels",
    "change": "changes",
    "smooth": "smooth changes",
    "warp": "warps",
    "waves": "waves",
    "usual_patch": "usual squares",
    "usual_blend": "usual noise",
}


def main(folder: Path) -> None:
    """Train, seek, heal, draw."""
    config = GlyphConfig(num_classes=10, size=SIZE)
    train, reference = draw_glyphs(config, 4000), draw_glyphs(config, 100, split="test")
    healthy, poisoned = trained(train, is_poisoned=False), trained(train)
    save(sought([healthy, poisoned], reference), folder / "how-sought.png")
    network = zoovet.from_module(poisoned, (1, SIZE, SIZE), scaling="unit")
    save(healed(network, reference), folder / "how-healed.png")
    save(symmetric(), folder / "how-symmetric.png")


def save(figure: Figure, path: Path) -> None:
    """Write a picture that is the same whenever it is made."""
    figure.savefig(path, metadata={"Software": None}, dpi=110, bbox_inches="tight")


def sought(modules: list[torch.nn.Module], images: zoovet.Images) -> Figure:
    """How far each class stands out, by kind of trigger: a healthy network, and one with a trojan."""
    figure, axes = pyplot.subplots(1, 2, figsize=(9.2, 3.6), sharey=True)
    for place, module, title in zip(axes, modules, ("healthy", f"trojaned, target {TARGET}"), strict=True):
        own = RunnableModule(module, (1, SIZE, SIZE), InputScaling())
        found = class_evidence(own, images.pixels, images.labels)
        rows = [strongest(found.standings(), kind) for kind in _KINDS]
        drawn = place.imshow(torch.stack(rows), cmap="magma", vmin=0, vmax=8, aspect="auto")
        place.set_title(title, fontsize=10, weight="bold")
        place.set_xticks(range(10))
        place.set_xlabel("class towards which triggers are sought", fontsize=9)
        place.set_yticks(range(len(rows)), list(_KINDS.values()), fontsize=9)
    figure.colorbar(drawn, ax=axes, label="deviations above the other classes")
    return figure


def strongest(standings: dict[str, Tensor], kind: str) -> Tensor:
    """The margin's standing by the strongest search of a kind: [classes]."""
    names = [name for name in standings if name.endswith(".margin") and name.rpartition("_")[0] == kind]
    return torch.stack([standings[name] for name in names]).amax(0)


def healed(network: zoovet.Network, images: zoovet.Images) -> Figure:
    """What each trigger that was found does on held-out images, before and after."""
    healing = zoovet.Repairer().repair(network, images, progress=lambda doing: print(doing, file=sys.stderr)).healing
    assert healing is not None
    edit = healing.edit
    assert edit is not None
    order = sorted(range(len(edit.triggers)), key=lambda place: -edit.flips_before[place])
    figure, place = pyplot.subplots(figsize=(9.2, 2.6))
    for shares, colour, label in ((edit.flips_before, "#c2410c", "before"), (edit.flips_after, "#1d6fb8", "after")):
        place.plot([100 * shares[one] for one in order], ".", color=colour, label=label, markersize=5)
    right = f"{edit.num_right_before} → {edit.num_right_after} of {edit.num_held_out} held-out images right"
    place.set_title(f"{len(order)} triggers found and unlearned; {right}", fontsize=10, weight="bold", loc="left")
    place.set_ylabel("% of images taken\nfor the target", fontsize=9)
    place.set_xlabel("triggers, the strongest first", fontsize=9)
    place.legend(frameon=False)
    return figure


def symmetric() -> Figure:
    """A small network, the same with hidden neurons exchanged and scaled, and what reads either."""
    generator = torch.Generator().manual_seed(2)
    first, second = torch.randn(4, 3, generator=generator), torch.randn(2, 4, generator=generator)
    order, scale = torch.tensor([2, 0, 3, 1]), torch.tensor([2.0, 0.5, 1.5, 0.8])
    moved = (first[order] * scale[:, None], second[:, order] / scale)
    graph, biases = mlp((3, 4, 2)), (torch.zeros(1, 4), torch.zeros(1, 2))
    both = [Networks.from_layers(graph, (a[None], b[None]), biases) for a, b in ((first, second), moved)]
    images = torch.randn(5, 3, generator=generator)
    answers = [zoovet.run(one, images) for one in both]
    torch.manual_seed(0)
    reader = zoovet.ScaleGMN(zoovet.ScaleGMNConfig(width=8, num_layers=2)).eval()
    with torch.no_grad():
        read = [reader([one]).flatten() for one in both]
    figure, axes = pyplot.subplots(1, 2, figsize=(9.2, 2.9))
    for place, weights, title in zip(
        axes, ((first, second), moved), ("a network", "exchanged and scaled"), strict=True
    ):
        draw(place, weights)
        place.set_title(title, fontsize=10, weight="bold")
    apart = [float((a - b).abs().max()) for a, b in (answers, read)]
    flat = float((both[0].flat() - both[1].flat()).abs().max())
    said = f"their weights differ by up to {flat:.1f}; their answers by {apart[0]:.0e}; "
    figure.text(0.5, 0.0, f"{said}what ScaleGMN says of them by {apart[1]:.0e}", ha="center", fontsize=10)
    return figure


def draw(place: Axes, weights: tuple[Tensor, Tensor]) -> None:
    """Neurons in layers, connections as wide as their weights, red below zero."""
    sizes = (weights[0].shape[1], weights[0].shape[0], weights[1].shape[0])
    spots = [[(layer, one - (size - 1) / 2) for one in range(size)] for layer, size in enumerate(sizes)]
    for layer, weight in enumerate(weights):
        for to, row in enumerate(weight.tolist()):
            for start, value in enumerate(row):
                ends = spots[layer][start], spots[layer + 1][to]
                colour = "#c2410c" if value < 0 else "#1d6fb8"
                place.plot(
                    *zip(*ends, strict=True), color=colour, linewidth=min(6, 1.6 * abs(value)), alpha=0.7, zorder=1
                )
    for spot in (one for layer in spots for one in layer):
        place.scatter(*spot, s=160, color="white", edgecolor="#333333", zorder=2)
    place.axis("off")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
