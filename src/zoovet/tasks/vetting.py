"""What Detector and Repairer share: they take networks of known specs, finite, in pieces that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, NetworkSpec
from zoovet.tasks.checkpoints import Checkpoint
from zoovet.tasks.training_distribution import TrainingDistribution

__all__ = ["as_batches", "distribution_of", "require_distribution", "require_known_specs", "spec_in_words", "specs_of"]


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
            known = "; or ".join(map(spec_in_words, specs))
            raise ZoovetError(
                f"this {reader} was not trained on such networks. Given: {spec_in_words(batch.spec)}. It reads: {known}"
            )
        batch.require_finite("the networks given")


def specs_of(checkpoint: Checkpoint) -> tuple[NetworkSpec, ...]:
    """The specs that a checkpoint's metanetwork was trained on.

    Raises:
        ZoovetError: Its description has none, or some that this version does not know.
    """
    return tuple(NetworkSpec.from_json(spec) for spec in checkpoint.get("specs"))


def distribution_of(checkpoint: Checkpoint) -> TrainingDistribution | None:
    """What a checkpoint's training networks look like; ``None`` for one of an earlier version, which does not say.

    Raises:
        ZoovetError: It is damaged.
    """
    if not checkpoint.extra:
        return None
    return TrainingDistribution.from_tensors(checkpoint.extra, specs_of(checkpoint), str(checkpoint.path))


def require_distribution(distribution: TrainingDistribution | None, reader: str) -> TrainingDistribution:
    """The distribution itself.

    Args:
        distribution: What the checkpoint says.
        reader: What it is called in errors: ``detector``, ``repairer``.

    Raises:
        ZoovetError: There is none.
    """
    if distribution is None:
        raise ZoovetError(
            f"this {reader} does not know what its training networks look like, since an earlier zoovet trained it: "
            f"train it again to have in-distribution scores"
        )
    return distribution


def spec_in_words(spec: NetworkSpec) -> str:
    """One line for people, with the shapes of the weights."""
    shapes = ", ".join("×".join(map(str, shape)) for shape in spec.weight_shapes)
    return f"{spec.describe()} (weights {shapes})"
