"""What an entry of the vocabulary says: attributes, parameters, the shape of what it makes, and how it is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from zoovet.errors import ZoovetError, nearest
from zoovet.networks.values import Values
from zoovet.printable import printable

__all__ = [
    "Attribute",
    "OperationKind",
    "Shape",
    "Site",
    "choice",
    "flag",
    "integer",
    "integers",
    "optional",
    "real",
]

Shape = tuple[int, ...]
Attributes = Mapping[str, Any]
_LARGEST = 2**31 - 1
_MOST_NUMBERS = 16


@dataclass(frozen=True)
class Site:
    """One activation tensor of a graph, for one image.

    Attributes:
        shape: Without the axis of images.
        channel_axis: The axis of ``shape`` along which channels lie; ``None`` where none can be told, as where a
            reshape cut channels into attention heads.
        positions: How many numbers in a row of that axis belong to one channel: height × width of a flattened map.
    """

    shape: Shape
    channel_axis: int | None
    positions: int = 1

    @property
    def num_channels(self) -> int | None:
        """How many channels there are; ``None`` without a channel axis."""
        return None if self.channel_axis is None else self.shape[self.channel_axis] // self.positions

    @property
    def num_numbers(self) -> int:
        """Numbers an image has here."""
        return math.prod(self.shape)

    def like(self, shape: Sequence[int]) -> Site:
        """The same channels in another shape of as many axes."""
        return Site(tuple(shape), self.channel_axis, self.positions)


@dataclass(frozen=True)
class Attribute:
    """One named setting of an operation.

    Attributes:
        check: ``check(value, what)`` gives the value in its one form (tuples for lists) or raises ``ZoovetError``.
        default: Taken where the attribute is left out.
        required: There is no default.
    """

    check: Callable[[Any, str], Any]
    default: Any = None
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class OperationKind:
    """One entry of the vocabulary.

    Shapes and axes never count the axis of images. ``infer`` and ``plain`` may trust that attributes, roles and the
    number of inputs are right; shapes are what ``infer`` checks.

    Attributes:
        name: torch.export's (ATen) name where it has one.
        infer: ``infer(attributes, input sites, shapes by role)`` gives the site that is made, or raises ``ZoovetError``
            with what does not fit.
        plain: ``plain(attributes, inputs, parameters by role)`` computes it for one network: inputs and result
            are [N, *shape] (N = 1 for what does not depend on the images), parameters as they are in the graph.
        attributes: The settings it takes.
        roles: Parameters it needs, as ``weight``.
        optional_roles: Parameters it may have, as ``bias``.
        num_inputs: The fewest and the most sites it reads.
        many: The same for B networks with parameters [B, *shape] each; needed where there are roles.
        is_elementwise: Each number of the result follows from the number at its place in the only input.
        is_per_channel: ``plain`` treats the first axis' channels each alone and takes any number of them.
        reduces: ``plain`` does so where ``dim``, the axes that it reduces, are others than the first.
        broadcasts: Inputs have as many axes as each other; ``plain`` broadcasts axes of 1 and takes any leading axes.
        makes_fresh: The result is new memory that no backward pass reads, so that its reader may overwrite it.
        overwrite: As ``plain``, writing into its first input; only for what has no parameters.
    """

    name: str
    infer: Callable[[Attributes, Sequence[Site], Mapping[str, Shape]], Site]
    plain: Callable[[Attributes, Sequence[Tensor], Mapping[str, Tensor]], Tensor]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    roles: tuple[str, ...] = ()
    optional_roles: tuple[str, ...] = ()
    num_inputs: tuple[int, int] = (1, 1)
    many: Callable[[Attributes, Sequence[Values], Mapping[str, Tensor], int], Values] | None = None
    is_elementwise: bool = False
    is_per_channel: bool = False
    reduces: bool = False
    broadcasts: bool = False
    makes_fresh: bool = False
    overwrite: Callable[[Attributes, Sequence[Tensor], Mapping[str, Tensor]], Tensor] | None = None

    def is_per_channel_with(self, attributes: Attributes) -> bool:
        """Whether ``plain``, with these attributes, treats the first axis' channels each alone."""
        return self.is_per_channel or (self.reduces and 0 not in attributes["dim"])

    def checked(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """All attributes in their one form, defaults filled in.

        Raises:
            ZoovetError: One is unknown, missing or has no meaning; the message names it.
        """
        for name in attributes:
            if name not in self.attributes:
                known = f"; {self.name} takes none" if not self.attributes else nearest(str(name), self.attributes)
                raise ZoovetError(f"the attribute '{printable(name)}' is unknown{known}")
        result = {}
        for name, attribute in self.attributes.items():
            if name in attributes:
                result[name] = attribute.check(attributes[name], f"the attribute {name!r}")
            elif attribute.required:
                raise ZoovetError(f"the attribute {name!r} is missing")
            else:
                result[name] = attribute.default
        return result


def integer(value: Any, what: str, minimum: int = -_LARGEST) -> int:
    """The value, where it is an integer of at least ``minimum`` that an index can be."""
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= _LARGEST:
        least = f" of at least {minimum}" if minimum > -_LARGEST else ""
        raise ZoovetError(f"{what} must be an integer{least} and at most {_LARGEST}, got {printable(repr(value))}")
    return int(value)


def integers(length: int | None = None, minimum: int = -_LARGEST) -> Callable[[Any, str], tuple[int, ...]]:
    """A check for a list of integers, of one length where it is given."""

    def check(value: Any, what: str) -> tuple[int, ...]:
        if not isinstance(value, list | tuple) or len(value) > _MOST_NUMBERS or length not in (None, len(value)):
            wanted = f"{length}" if length is not None else f"at most {_MOST_NUMBERS}"
            raise ZoovetError(f"{what} must be a list of {wanted} integers, got {printable(repr(value))}")
        return tuple(integer(item, what, minimum) for item in value)

    return check


def real(value: Any, what: str) -> float:
    """The value as a float, where it is a finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= 1e308:
        raise ZoovetError(f"{what} must be a finite number, got {printable(repr(value))}")
    return float(value)


def flag(value: Any, what: str) -> bool:
    """The value, where it is true or false."""
    if not isinstance(value, bool):
        raise ZoovetError(f"{what} must be true or false, got {printable(repr(value))}")
    return value


def choice(*known: str) -> Callable[[Any, str], str]:
    """A check for one of some names."""

    def check(value: Any, what: str) -> str:
        if not isinstance(value, str) or value not in known:
            raise ZoovetError(f"{what} must be one of {', '.join(map(repr, known))}, got {printable(repr(value))}")
        return value

    return check


def optional(check: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """A check that lets ``None`` pass."""
    return lambda value, what: None if value is None else check(value, what)
