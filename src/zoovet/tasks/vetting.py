"""What Detector and TrainedRepairer share: they take networks of known graphs, finite, some at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import ZOO_SCALING, Graph, InputScaling, Networks, rescaled
from zoovet.printable import printable
from zoovet.tasks.checkpoints import Checkpoint, Description
from zoovet.tasks.training_distribution import TrainingDistribution

__all__ = [
    "Vetting",
    "as_batches",
    "distribution_of",
    "graphs_of",
    "require_finite_answers",
    "require_known_graphs",
    "scaling_of",
]


def as_batches(networks: Networks | Sequence[Networks]) -> list[Networks]:
    """One batch or several as a list.

    Raises:
        ZoovetError: There is no network at all.
    """
    batches = [networks] if isinstance(networks, Networks) else list(networks)
    if sum(map(len, batches)) == 0:
        raise ZoovetError("no networks were given; at least one is needed")
    return batches


def require_known_graphs(batches: Sequence[Networks], graphs: Sequence[Graph], reader: str) -> None:
    """Check that networks may go into a metanetwork.

    Args:
        batches: The networks.
        graphs: What it was trained on.
        reader: What it is called in errors: ``detector``, ``repairer``.

    Raises:
        ZoovetError: A graph is not among them (the message describes it and the first of them), or a weight is NaN or
            infinite.
    """
    for batch in batches:
        if batch.graph not in graphs:
            given, known = (printable(graph.describe(), 90) for graph in (batch.graph, graphs[0]))
            known += f" and {len(graphs) - 1} more" if len(graphs) > 1 else ""
            raise ZoovetError(f"this {reader} was not trained on such networks. Given: {given}. It reads: {known}")
        batch.require_finite("the networks given")


def require_finite_answers(answers: Tensor, reader: str) -> Tensor:
    """The answers themselves.

    Args:
        answers: [B, ...], of each network.
        reader: Who gave them, for messages.

    Raises:
        ZoovetError: One is NaN or infinite; the message names the first network.
    """
    damaged = ~answers.isfinite().flatten(1).all(dim=1) if answers.ndim > 1 else ~answers.isfinite()
    if bool(damaged.any()):
        raise ZoovetError(
            f"what the {reader} says of network {int(damaged.nonzero()[0])} is not finite ({int(damaged.sum())} of "
            f"{len(answers)} answers are not), so it means nothing; leave that network out, or train the {reader} again"
        )
    return answers


def graphs_of(description: Description) -> tuple[Graph, ...]:
    """The graphs that a checkpoint's metanetwork was trained on.

    Raises:
        ZoovetError: Its description has none, or some that this version does not know.
    """
    graphs = description.get("specs")
    if not isinstance(graphs, list) or not graphs:
        where = printable(description.path)
        raise ZoovetError(f"{where} is not as zoovet writes it: 'specs' should be a list, got {printable(graphs)}")
    return tuple(Graph.from_json(graph) for graph in graphs)


def distribution_of(checkpoint: Checkpoint) -> TrainingDistribution | None:
    """What a checkpoint's training networks look like; ``None`` for one of an earlier version, which does not say.

    Raises:
        ZoovetError: It is damaged.
    """
    if not checkpoint.extra:
        return None
    return TrainingDistribution.from_tensors(checkpoint.extra, graphs_of(checkpoint), str(checkpoint.path))


def scaling_of(graph: Graph) -> InputScaling:
    """The input scaling that networks of a graph are read in: where it is not known, that of zoovet's own zoos."""
    return graph.input_scaling or ZOO_SCALING


class Vetting:
    """What knows the networks that it was trained on, and says of others how like those they are.

    The networks that it was trained on read images scaled to [-1, 1], and so are the images that it keeps. Those of
    another input scaling are run on the same images in theirs; their weights are read as they are, since weights that
    were trained in another scaling look more like those of the training networks than the same with the scaling taken
    into the first layer do. Where a network's scaling is not known, [-1, 1] is assumed.

    Attributes:
        reader: What it is called in errors: ``detector``, ``repairer``.
        graphs: What it was trained on.
        distribution: What the networks that it was trained on look like, where that is known.
    """

    reader: ClassVar[str]
    graphs: tuple[Graph, ...]
    distribution: TrainingDistribution | None

    def in_distribution(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """How like the networks that it was trained on: a conformal p-value, whatever the weights' order or scale.

        Networks drawn as those were have a score of at most s with a probability of about s; that of a network unlike
        all of them is the smallest there is, 1 / (1 + validation networks of its graph).

        Args:
            networks: B networks, or batches of several graphs.

        Returns:
            float32 [B] in (0, 1] on the CPU, in the order of the networks.

        Raises:
            ZoovetError: Networks of a graph it was not trained on, or with NaN or infinite weights; or an earlier
                version trained it, which did not keep what is needed.
        """
        batches = self._readable(networks)
        return self._known_distribution().score(batches)

    def out_of_distribution(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Whether a network is so unlike the training networks that what is said of it is worth nothing: bool [B].

        See :meth:`~zoovet.tasks.training_distribution.TrainingDistribution.is_out`; and networks of an input scaling
        far from theirs are (:meth:`reads_far_otherwise`).
        """
        batches = self._readable(networks)
        return self._known_distribution().is_out(batches) | self.reads_far_otherwise(networks)

    def reads_far_otherwise(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Whether a network reads an input scaling far from that of the training networks: bool [B].

        Such networks learn otherwise: of 20 small CNNs on [0, 255], a detector of those on [-1, 1] got 6 wrong. One
        whose scaling is not known is not among them.
        """
        known = {graph: scaling_of(graph) for graph in self.graphs}
        batches = as_batches(networks)
        far = [
            own is not None and own.is_far_from(known[batch.graph], batch.graph.input_shape[0])
            for batch in batches
            for own in (batch.graph.input_scaling,)
        ]
        return torch.tensor(far).repeat_interleave(torch.tensor([len(batch) for batch in batches]))

    def _readable(self, networks: Networks | Sequence[Networks]) -> list[Networks]:
        """One batch or several as a list, of graphs that it reads, with finite weights, for images in its scaling."""
        batches = as_batches(networks)
        require_known_graphs(batches, self.graphs, self.reader)
        known = {graph: scaling_of(graph) for graph in self.graphs}
        return [
            batch if batch.graph.input_scaling is None else rescaled(batch, known[batch.graph]) for batch in batches
        ]

    def _known_distribution(self) -> TrainingDistribution:
        if self.distribution is None:
            raise ZoovetError(
                f"this {self.reader} does not know what its training networks look like, since an earlier zoovet "
                f"trained it: train it again to have in-distribution scores"
            )
        return self.distribution
