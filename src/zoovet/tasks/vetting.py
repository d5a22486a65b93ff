"""What Detector and Repairer share: they take networks of known specs, finite, in pieces that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, NetworkSpec
from zoovet.tasks.checkpoints import Checkpoint

__all__ = ["as_batches", "require_known_specs", "specs_of"]


def as_batches(networks: Networks | Sequence[Networks]) -> list[Networks]:
    """One batch or several as a list.

    Raises:
        ZoovetError: There is no network at all.
    """
    batches = [networks] if isinstance(networks, Networks) else list(networks)
    if sum(map(len, batches)) == 0:
        raise ZoovetError("no networks were given; at least one is needed")
    return batches


def require_known_specs(batches: Sequence[Networks], specs: Sequence[NetworkSpec], reader: str) -> None:
    """Check that networks may go into a metanetwork.

    Args:
        batches: The networks.
        specs: What it was trained on.
        reader: What it is called in errors: ``detector``, ``repairer``.

    Raises:
        ZoovetError: A spec is not among them (the message describes both sides), or a weight is NaN or infinite.
    """
    for batch in batches:
        if batch.spec not in specs:
            known = "; or ".join(map(_in_words, specs))
            raise ZoovetError(
                f"this {reader} was not trained on such networks. Given: {_in_words(batch.spec)}. It reads: {known}"
            )
        batch.require_finite("the networks given")


def specs_of(checkpoint: Checkpoint) -> tuple[NetworkSpec, ...]:
    """The specs that a checkpoint's metanetwork was trained on.

    Raises:
        ZoovetError: Its description has none, or some that this version does not know.
    """
    return tuple(NetworkSpec.from_json(spec) for spec in checkpoint.get("specs"))


def _in_words(spec: NetworkSpec) -> str:
    shapes = ", ".join("×".join(map(str, shape)) for shape in spec.weight_shapes)
    return f"{spec.describe()} (weights {shapes})"
