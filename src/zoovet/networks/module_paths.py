"""Where a dotted name stands in a module."""

from __future__ import annotations

from torch import nn

__all__ = ["made_parent"]


def made_parent(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that ``a.b.c`` belongs to, ``a.b``, made where it is missing, and ``c``.

    Raises:
        AttributeError: A part of the name is an attribute of another kind.
        KeyError: A module cannot have a part of such a name.
    """
    *path, last = name.split(".")
    for part in path:
        if part not in module._modules:
            module.add_module(part, nn.Module())
        module = module.get_submodule(part)
    return module, last
