"""The models of a comparison: what each is called, what it cost, and what it says of every network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from zoovet.errors import ZoovetError

__all__ = ["ComparedModel", "check_models", "models_from_json", "models_to_json"]


@dataclass(frozen=True, kw_only=True)
class ComparedModel:
    """A model that is compared with others on the same test networks.

    Attributes:
        key: What files call it: ``scalegmn``, ``permutation``, ``mlp``, ``statnn``; ``scalegmn_canonicalized`` where
            it sees networks in their canonical form.
        name: For people.
        num_parameters: Numbers that training fits; ``None`` where that means nothing.
        training_seconds: Wall time of its training; ``None`` where it is not known.
        run: Folder of its run; ``None`` where it has none.
    """

    key: str
    name: str
    num_parameters: int | None = None
    training_seconds: float | None = None
    run: str | None = None


def check_models(models: Sequence[ComparedModel], values: Mapping[str, Any], what: str) -> tuple[ComparedModel, ...]:
    """The models, of which there must be one at least, with ``values`` for each.

    Raises:
        ZoovetError: There is none, two have the same key, or ``values`` (called ``what`` in the message) are those of
            others.
    """
    keys = [model.key for model in models]
    if not keys:
        raise ZoovetError("a comparison needs at least one model, got none")
    for key in keys:
        if keys.count(key) > 1:
            raise ZoovetError(f"two models of the comparison are both {key!r}; compare one at a time")
    if set(keys) != set(values):
        raise ZoovetError(f"every model needs {what}; got models {sorted(keys)} and {what} of {sorted(values)}")
    return tuple(models)


def models_to_json(models: Sequence[ComparedModel]) -> list[dict[str, Any]]:
    """As JSON values."""
    return [asdict(model) for model in models]


def models_from_json(data: Sequence[Mapping[str, Any]]) -> tuple[ComparedModel, ...]:
    """What :func:`models_to_json` gave."""
    return tuple(ComparedModel(**model) for model in data)
