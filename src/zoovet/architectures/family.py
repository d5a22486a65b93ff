"""Family: an architecture by name. It finds its layers, widths and classes among the tensors of a state dict."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import nn

from zoovet.errors import ZoovetError

__all__ = ["ACTIVATIONS", "Candidate", "Family", "Misfit", "OpenArchitecture", "Settings", "Shapes"]

Shapes = Mapping[str, tuple[int, ...]]
"""Name of a tensor → its shape, in the order in which the layers run where the file says that."""

_MAX_CHOICES = 64

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {
        "relu": nn.ReLU,
        "leaky_relu": nn.LeakyReLU,
        "elu": nn.ELU,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "relu6": nn.ReLU6,
        "selu": nn.SELU,
    }
)
"""Choices of an open activation; each with torch's own defaults."""


class Misfit(ZoovetError):
    """A state dict is not of an architecture; the message says what it has or lacks."""


class OpenArchitecture(ZoovetError):
    """Names and shapes leave open which network a state dict is.

    Args:
        message: What they leave open, and how to say it.
        choices: Architectures that it may be, each as ``--architecture`` takes it; the likeliest first.
    """

    def __init__(self, message: str, choices: Iterable[str]) -> None:
        super().__init__(message)
        self.choices = tuple(choices)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is known besides names and shapes.

    Attributes:
        chosen: Key → value, as ``--architecture NAME:key=value`` says it.
        image: (height, width) of the images that the network reads, where that is known.
        is_ordered: Whether tensors stand in the order of registration; safetensors files are sorted by name.
    """

    chosen: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    image: tuple[int, int] | None = None
    is_ordered: bool = True


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An architecture that a state dict's names and shapes fit.

    Attributes:
        family: Its name, as ``--architecture`` takes it.
        title: What it is, for people: ``ResNet-20``.
        derived: What names and shapes say: depth, width, classes, …
        open: What they leave open: key → the choices that there are, none of which is taken.
        build: Makes the module; asked only where nothing is open.
        input_shape: ``(channels, height, width)`` or ``(features,)``; ``None`` where the size of images is open.
        also: Other numbers that it is known by: CIFAR's VGG-16 has 14 layers, named after one with three linear ones.
    """

    family: str
    title: str
    derived: Mapping[str, int]
    open: Mapping[str, tuple[str, ...]]
    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...] | None
    also: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def forms(self) -> str:
        """The choices as words of the command line: ``--architecture vgg:activation=relu, vgg:activation=elu, …``."""
        if not self.open:
            return f"--architecture {self.family}"
        first = ",".join(f"{key}={choices[0]}" for key, choices in self.open.items())
        rest = "; ".join(f"{key}: {', '.join(choices)}" for key, choices in self.open.items() if len(choices) > 1)
        return f"--architecture {self.family}:{first}{f' ({rest})' if rest else ''}"

    def choices(self, said: str = "") -> list[str]:
        """All that it may be, each as ``--architecture`` takes it, at most 64: ``vgg:activation=relu``, ….

        Args:
            said: What was chosen already: ``pooling=max``.
        """
        options = itertools.product(*([f"{key}={value}" for value in values] for key, values in self.open.items()))
        forms = (",".join([*([said] if said else []), *chosen]) for chosen in options)
        return [f"{self.family}:{form}" if form else self.family for form in itertools.islice(forms, _MAX_CHOICES)]


@dataclass(frozen=True, kw_only=True)
class Family:
    """Architectures of one kind.

    Attributes:
        name: As ``--architecture`` takes it.
        summary: What it is, in a line.
        pattern: Regular expression of other names, whose named groups are numbers that names and shapes must confirm:
            ``resnet20``.
        options: Key → choices; ``()`` where it is a number.
        match: Finds the architecture in names and shapes.

    Raises:
                Misfit: It is not there.
    """

    name: str
    summary: str
    pattern: str
    options: Mapping[str, tuple[str, ...]]
    match: Callable[[Shapes, Settings], Candidate]
