"""Shipped models: detectors and repairers that come with the package, each with a card.

A model is a folder here, called as the model is: ``detector.safetensors``, ``repairer.safetensors`` (one of them may be
missing) and ``card.md``, which says what they were trained on, how good they are and where they end. ``python -m
zoovet.cli.ship`` puts finished runs here. Every function takes another folder of models instead. The detectors for
strangers, of networks that no model knows, lie beside them.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from zoovet.errors import ZoovetError, nearest

__all__ = [
    "CARD_NAME",
    "KINDS",
    "MAX_BYTES",
    "card",
    "file_of",
    "folder",
    "kinds_of",
    "names",
    "stranger_detector",
    "stranger_detector_place",
]

KINDS = ("detector", "repairer")
"""What a model may have."""

CARD_NAME = "card.md"

MAX_BYTES = 10_000_000
"""Size that all models together stay within."""


def folder() -> Path:
    """The folder of the models that come with the package."""
    return Path(str(resources.files(__name__)))


def names(models: Path | None = None) -> tuple[str, ...]:
    """Names of the models, in alphabetical order.

    Args:
        models: Folder of models; the package's own where left out.

    Raises:
        ZoovetError: The folder given does not exist.
    """
    place = models or folder()
    if not place.is_dir():
        raise ZoovetError(f"there is no folder of models {place}; leave it out to use those of the package")
    found = {path.parent.name for kind in KINDS for path in place.glob(f"*/{kind}.safetensors")}
    return tuple(sorted(found))


def file_of(name: str, kind: str, models: Path | None = None) -> Path:
    """The file of a model's detector or repairer.

    Args:
        name: The model's.
        kind: One of :data:`KINDS`.
        models: Folder of models; the package's own where left out.

    Raises:
        ZoovetError: There is no such model, or it has none of the kind; the message names those there are.
    """
    place = _of(name, models) / f"{kind}.safetensors"
    if not place.is_file():
        raise ZoovetError(f"the model {name!r} has no {kind}; give one of your own with --{kind} RUN")
    return place


def kinds_of(name: str, models: Path | None = None) -> tuple[str, ...]:
    """Which of :data:`KINDS` a model has.

    Raises:
        ZoovetError: There is no such model.
    """
    place = _of(name, models)
    return tuple(kind for kind in KINDS if (place / f"{kind}.safetensors").is_file())


def card(name: str, models: Path | None = None) -> Path:
    """A model's card: Markdown.

    Raises:
        ZoovetError: There is no such model.
    """
    return _of(name, models) / CARD_NAME


def stranger_detector(models: Path | None = None, *, with_images: bool = True) -> Path | None:
    """The file of a detector for strangers; ``None`` where there is none.

    Args:
        models: Folder of models; the package's own where left out.
        with_images: Whether it reads evidence from reference images, not from images that networks make themselves.
    """
    place = stranger_detector_place(models, with_images=with_images)
    return place if place.is_file() else None


def stranger_detector_place(models: Path | None = None, *, with_images: bool = True) -> Path:
    """Where the file of a detector for strangers lies, if there is one; arguments as of :func:`stranger_detector`."""
    name = "strangers" if with_images else "strangers-without-images"
    return (models or folder()) / name / "stranger_detector.safetensors"


def _of(name: str, models: Path | None) -> Path:
    place, known = models or folder(), names(models)
    if name not in known:
        raise ZoovetError(
            f"there is no model {name!r} in {place}{nearest(name, known) if known else ', which holds none at all'}"
        )
    return place / name
