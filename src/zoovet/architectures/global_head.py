"""What architectures share that end in a mean over the map and one linear layer: images of any size fit them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from zoovet.architectures.family import Candidate, Settings, Shapes
from zoovet.architectures.named_layers import Layers, shape_of

__all__ = ["chosen_and_open", "convolutional_candidate"]

_USUAL_SIZES = ("32", "28", "64", "224")


def convolutional_candidate(
    family: str,
    title: str,
    shapes: Shapes,
    settings: Settings,
    *,
    head: str,
    derived: Mapping[str, int],
    choices: Mapping[str, Sequence[str]],
    make: Callable[[Layers, Mapping[str, str]], Callable[[Tensor], Tensor]],
    stem: str = "conv1",
) -> Candidate:
    """The candidate of such an architecture.

    Args:
        family: Its name.
        title: For people.
        shapes: Of the state dict.
        settings: What is known besides.
        head: Name of the linear layer.
        derived: What names and shapes say, besides the classes.
        choices: Key → choices, of what they leave open.
        make: From the layers and what was chosen to what runs them.
        stem: Name of the first convolution.
    """
    chosen, left = chosen_and_open(choices, settings)
    channels = shape_of(shapes, f"{stem}.weight", 4)[1]
    if settings.image is None:
        left["image"] = _USUAL_SIZES

    def build() -> nn.Module:
        layers = Layers(shapes)
        return layers.module(make(layers, chosen))

    return Candidate(
        family=family,
        title=title,
        derived={**derived, "classes": shape_of(shapes, f"{head}.weight", 2)[0]},
        open=left,
        build=build,
        input_shape=None if settings.image is None else (channels, *settings.image),
    )


def chosen_and_open(
    choices: Mapping[str, Sequence[str]], settings: Settings
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """What the settings choose, and what stays open."""
    chosen = {key: settings.chosen[key] for key in choices if key in settings.chosen}
    return chosen, {key: tuple(values) for key, values in choices.items() if key not in chosen}
