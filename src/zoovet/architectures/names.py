"""Architectures by name: ``vgg:activation=elu,image=32``, ``resnet20``, and what a name stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from zoovet.architectures.deepid import DEEPID
from zoovet.architectures.densenet import DENSENET
from zoovet.architectures.external import LIBRARIES, is_external
from zoovet.architectures.family import Candidate, Family, Misfit, Settings, Shapes
from zoovet.architectures.mobilenet import MOBILENET_V2
from zoovet.architectures.plain import LENET, MLP, SMALL_CNN, VGG
from zoovet.architectures.preactivation import PREACT_RESNET, WIDE_RESNET
from zoovet.architectures.residual import RESNET
from zoovet.errors import ZoovetError, nearest
from zoovet.printable import printable, with_article

__all__ = ["ARCHITECTURES", "Named", "named", "require_known"]

ARCHITECTURES: Mapping[str, Family] = {
    family.name: family
    for family in (
        SMALL_CNN,
        LENET,
        MLP,
        VGG,
        RESNET,
        PREACT_RESNET,
        WIDE_RESNET,
        MOBILENET_V2,
        DENSENET,
        DEEPID,
    )
}
"""Built-in families by name."""

_IMAGE = re.compile(r"(?P<height>[1-9]\d{0,3})(?:x(?P<width>[1-9]\d{0,3}))?")


@dataclass(frozen=True, kw_only=True)
class Named:
    """A family that was named, and what was said with it.

    Attributes:
        family: The family.
        chosen: Key → value of its options.
        wanted: Numbers that names and shapes must confirm: depth 20 of ``resnet20``.
        image: (height, width) of images, where it was said.
    """

    family: Family
    chosen: Mapping[str, str]
    wanted: Mapping[str, int]
    image: tuple[int, int] | None

    def with_first_choices(self, candidate: Candidate) -> Named:
        """The same with the first choice of whatever a candidate leaves open."""
        first = {key: choices[0] for key, choices in candidate.open.items()}
        side = first.pop("image", None)
        image = self.image if side is None else (int(side), int(side))
        return replace(self, chosen={**self.chosen, **first}, image=image)

    def match(self, shapes: Shapes, image: tuple[int, int] | None, *, is_ordered: bool) -> Candidate:
        """The architecture among names and shapes.

        Args:
            shapes: Of a state dict.
            image: (height, width) of reference images.
            is_ordered: Whether the state dict is in the order of registration.

        Raises:
            Misfit: It is not there, or another of its family is.
        """
        settings = Settings(chosen=self.chosen, image=self.image or image, is_ordered=is_ordered)
        candidate = self.family.match(shapes, settings)
        for key, value in self.wanted.items():
            if value not in (candidate.derived.get(key), candidate.also.get(key)):
                own = candidate.derived.get(key)
                raise Misfit(f"is {with_article(candidate.title)}: its {key} is {own}, not {value}")
        return candidate


def named(architecture: str) -> Named:
    """What a name and its ``key=value`` stand for.

    Raises:
        ZoovetError: The name, a key or a value is unknown; the message names the nearest or all.
    """
    name, colon, words = architecture.partition(":")
    family, wanted = _family(name, colon)
    chosen: dict[str, str] = {}
    image = None
    for word in words.split(",") if words else ():
        key, _, value = (part.strip() for part in word.partition("="))
        if key == "image":
            match = _IMAGE.fullmatch(value)
            if match is None:
                raise ZoovetError(f"{family.name}:image must be as 32 or 32x48, got '{printable(value)}'")
            image = (int(match["height"]), int(match["width"] or match["height"]))
        elif key not in family.options:
            known = (*family.options, "image")
            raise ZoovetError(f"{family.name} has no option '{printable(key)}'{printable(nearest(key, known), 300)}")
        elif value not in family.options[key]:
            hint = printable(nearest(value, family.options[key]), 300)
            raise ZoovetError(f"{family.name}:{key}={printable(value)} is no choice{hint}")
        else:
            chosen[key] = value
    return Named(family=family, chosen=chosen, wanted=wanted, image=image)


def require_known(architecture: str) -> None:
    """Check a name before files are read; whether a library or the user's own code has it is seen when it is made.

    Raises:
        ZoovetError: As in :func:`named`.
    """
    if not is_external(architecture):
        named(architecture)


def _family(name: str, colon: str) -> tuple[Family, dict[str, int]]:
    lower = name.strip().lower()
    if lower in ARCHITECTURES:
        return ARCHITECTURES[lower], {}
    for family in ARCHITECTURES.values():
        match = re.fullmatch(family.pattern, lower)
        if match:
            return family, {key: int(value) for key, value in match.groupdict().items() if value}
    # The colon tells a library's name: 'tochvision:resnet18' is no misspelt family.
    hint = nearest(f"{lower}{colon}", (*ARCHITECTURES, *(f"{library}:" for library in LIBRARIES)))
    raise ZoovetError(f"the architecture '{printable(name, 60)}' is unknown{hint}; or give FILE.py:FUNCTION")
