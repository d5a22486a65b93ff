"""What a trained model is called in comparisons: a matter of its configuration, never of where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["model_key", "model_name"]

_KEYS = {"flat_mlp": "mlp"}
_NAMES = {"flat_mlp": "MLP on flat weights"}


def model_key(metanetwork: Mapping[str, Any], *, canonicalized: bool = False) -> str:
    """What files call a model.

    Args:
        metanetwork: Its kind and configuration as checkpoints have them: ``{"kind": …, "config": {…}}``.
        canonicalized: Whether it sees networks in their canonical form.

    Returns:
        ``scalegmn``; ``permutation``, a ScaleGMN that knows of permutations alone; ``mlp``; another kind's own name;
        with ``_canonicalized`` at the end where that holds.
    """
    kind = str(metanetwork["kind"])
    key = "permutation" if _is_permutation_only(metanetwork) else _KEYS.get(kind, kind)
    return f"{key}_canonicalized" if canonicalized else key


def model_name(metanetwork: Mapping[str, Any], *, canonicalized: bool = False) -> str:
    """What people call it: ``ScaleGMN``, ``ScaleGMN-B`` where messages also run backward, ``permutation only``, ….

    Args:
        metanetwork: As for :func:`model_key`.
        canonicalized: As for :func:`model_key`.
    """
    kind = str(metanetwork["kind"])
    name = _NAMES.get(kind, kind)
    if kind == "scalegmn":
        is_bidirectional = metanetwork["config"].get("direction", "bidirectional") == "bidirectional"
        name = "ScaleGMN-B" if is_bidirectional else "ScaleGMN"
        if _is_permutation_only(metanetwork):
            name = "permutation only, bidirectional" if is_bidirectional else "permutation only"
    return f"{name}, canonicalized" if canonicalized else name


def _is_permutation_only(metanetwork: Mapping[str, Any]) -> bool:
    return bool(metanetwork["kind"] == "scalegmn" and metanetwork["config"].get("symmetry") == "permutation")
