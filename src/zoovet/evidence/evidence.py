"""Evidence: named numbers of networks' classes, sites and parameters, found out by running them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable

__all__ = ["Evidence"]

Named = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What is known of B networks of one architecture; immutable.

    Attributes:
        classes: Name → [B, classes] or [B, classes, numbers].
        sites: Site → name → [B, channels] or [B, channels, numbers]. They move and scale with the site's channels.
        parameters: Parameter → name → [B, \\*shape]. They move with the parameter's entries.

    Raises:
        ZoovetError: Tensors are of different numbers of networks, or of classes, or have too few axes.
    """

    classes: Named = field(default_factory=dict)
    sites: Mapping[str, Named] = field(default_factory=dict)
    parameters: Mapping[str, Named] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", MappingProxyType(dict(self.classes)))
        for kind in ("sites", "parameters"):
            frozen = {place: MappingProxyType(dict(named)) for place, named in getattr(self, kind).items()}
            object.__setattr__(self, kind, MappingProxyType(frozen))
        sizes = {len(tensor) if tensor.ndim else 0 for _, tensor in self.named()}
        if len(sizes) > 1:
            raise ZoovetError(f"evidence must be of one number of networks throughout, got {sorted(sizes)}")
        of_classes = {tensor.shape[1:2] for tensor in self.classes.values()}
        if len(of_classes) > 1 or () in of_classes:
            shapes = {printable(name): list(tensor.shape) for name, tensor in self.classes.items()}
            raise ZoovetError(f"evidence of classes must have the shapes [networks, classes, …], got {shapes}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Evidence.of_names, (dict(self.named()),)

    def __len__(self) -> int:
        return next((len(tensor) for _, tensor in self.named()), 0)

    def __getitem__(self, index: slice | Tensor | Sequence[int]) -> Evidence:
        """That of some of the networks."""
        return self.map(lambda tensor: tensor[index])

    def named(self) -> Iterator[tuple[tuple[str, ...], Tensor]]:
        """All tensors: ``("classes", name)``, ``("sites", site, name)``, ``("parameters", parameter, name)``."""
        for name, tensor in self.classes.items():
            yield ("classes", name), tensor
        for kind, places in (("sites", self.sites), ("parameters", self.parameters)):
            for place, named in places.items():
                for name, tensor in named.items():
                    yield (kind, place, name), tensor

    @classmethod
    def of_names(cls, tensors: Mapping[tuple[str, ...], Tensor]) -> Evidence:
        """What :meth:`named` told apart, put together."""
        classes: dict[str, Tensor] = {}
        places: dict[str, dict[str, dict[str, Tensor]]] = {"sites": {}, "parameters": {}}
        for (kind, *where), tensor in tensors.items():
            if kind == "classes":
                classes[where[0]] = tensor
            else:
                places[kind].setdefault(where[0], {})[where[1]] = tensor
        return cls(classes=classes, **places)

    def map(self, function: Callable[[Tensor], Tensor]) -> Evidence:
        """Apply ``function`` to every tensor; it may change the first axis alone."""
        return Evidence.of_names({name: function(tensor) for name, tensor in self.named()})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Evidence:
        """The same on another device or in another precision."""
        return self.map(lambda tensor: tensor.to(device=device, dtype=dtype))

    @classmethod
    def concatenate(cls, parts: Sequence[Evidence]) -> Evidence:
        """Of networks after one another.

        Raises:
            ZoovetError: There are no parts, or they hold different things.
        """
        tables = [dict(part.named()) for part in parts]
        if not tables or any(table.keys() != tables[0].keys() for table in tables):
            raise ZoovetError("only evidence of the same names can be put together, and at least one is needed")
        return cls.of_names({name: torch.cat([table[name] for table in tables]) for name in tables[0]})
