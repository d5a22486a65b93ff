"""What a class's docstring says of its attributes."""

from __future__ import annotations

__all__ = ["meanings_of"]


def meanings_of(cls: type) -> dict[str, str]:
    """What the ``Attributes`` sections of a class's and its bases' Google docstrings say of each name."""
    meanings: dict[str, str] = {}
    for base in cls.__bases__:
        meanings |= meanings_of(base)
    lines = (cls.__doc__ or "").expandtabs().splitlines()
    inside, names, indent = False, list[str](), 0
    for line in lines:
        stripped = line.strip()
        if stripped in ("Attributes:", "Args:"):
            inside, indent = True, len(line) - len(line.lstrip()) + 4
        elif inside and stripped and len(line) - len(line.lstrip()) < indent:
            inside = False
        elif inside and stripped and len(line) - len(line.lstrip()) == indent:
            head, _, text = stripped.partition(":")
            names = [name.strip() for name in head.split(",")]
            meanings.update(dict.fromkeys(names, text.strip()))
        elif inside and stripped:
            meanings.update({name: f"{meanings[name]} {stripped}" for name in names})
    return meanings
