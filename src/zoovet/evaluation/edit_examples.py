"""Pictures of some edited INRs beside what they were and should be, and of INRs beside their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.evaluation.editing import NetworkEditor
from zoovet.evaluation.zoo_summary import Reconstruction, dataset_name
from zoovet.tasks.edited_images import names_of_classes
from zoovet.zoo import Zoo
from zoovet.zoo.inr_pictures import pictures

__all__ = ["EditExample", "collect_edit_examples", "collect_reconstructions"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False, kw_only=True)
class EditExample:
    """One INR; every picture is uint8 [C, H, W], cut to [0, 255].

    Attributes:
        network_id: Which INR.
        source: The image it was made from.
        before: What it shows.
        target: The edited source image.
        after: What it shows when edited, by the key of a model.
        mse_before: Mean squared error of ``before`` against ``target``, uncut, pixels in [0, 1].
        mse_after: The same of each ``after``.
    """

    network_id: str
    source: Pixels
    before: Pixels
    target: Pixels
    after: Mapping[str, Pixels]
    mse_before: float
    mse_after: Mapping[str, float]


def collect_edit_examples(
    editors: Mapping[str, NetworkEditor],
    zoo: Zoo,
    sources: Tensor,
    targets: Tensor,
    generator: np.random.Generator,
    *,
    num_networks: int = 8,
) -> list[EditExample]:
    """Draw INRs, not chosen for how they come out.

    Args:
        editors: Fitted, by the key of a model.
        zoo: INRs held out from training; all of them where there are no more than asked for.
        sources: float32 [n, C, H, W] in [0, 1], the image of every network.
        targets: The same, edited.
        generator: Source of the draw.
        num_networks: INRs to show.
    """
    drawn = np.sort(generator.choice(len(zoo), min(num_networks, len(zoo)), replace=False))
    return [_example(editors, zoo, int(place), sources, targets) for place in drawn]


def collect_reconstructions(
    zoo: Zoo, sources: Tensor, places: Sequence[int] | NDArray[np.int64]
) -> list[Reconstruction]:
    """INRs beside their images.

    Args:
        zoo: Where they are.
        sources: float32 [m, C, H, W] in [0, 1], the images of the networks at ``places``.
        places: [m] which networks of the zoo.
    """
    labels = zoo.column("label")
    names = names_of_classes(zoo, dataset_name(zoo), int(labels.max(initial=0)) + 1)
    made = []
    for place, source in zip(places, sources, strict=True):
        label = int(labels[place])
        made.append(
            Reconstruction(
                network_id=str(zoo.column("network_id")[place]),
                label=names[label] if label >= 0 else "",
                psnr=float(zoo.column("psnr")[place]),
                image=_pixels(source),
                picture=_pixels(pictures(zoo.networks([place]), *source.shape[1:])[0]),
            )
        )
    return made


def _example(
    editors: Mapping[str, NetworkEditor], zoo: Zoo, place: int, sources: Tensor, targets: Tensor
) -> EditExample:
    network, target = zoo.networks([place]), targets[place]
    with torch.no_grad():
        before = pictures(network, *target.shape[1:])[0]
        after = {key: pictures(editor.edit(network), *target.shape[1:])[0] for key, editor in editors.items()}

    def error(picture: Tensor) -> float:
        return float((picture - target).square().mean())

    return EditExample(
        network_id=str(zoo.column("network_id")[place]),
        source=_pixels(sources[place]),
        before=_pixels(before),
        target=_pixels(target),
        after={key: _pixels(picture) for key, picture in after.items()},
        mse_before=error(before),
        mse_after={key: error(picture) for key, picture in after.items()},
    )


def _pixels(picture: Tensor) -> Pixels:
    """uint8 of a picture in [0, 1]; what is beyond is cut."""
    pixels: Pixels = (picture.detach().cpu() * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels
