"""Making more of the training networks: changes under which a trojaned network stays one, and a healthy one too."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence import Evidence
from zoovet.evidence.inversion_config import NEXT, SET
from zoovet.healing.editable import learned_names
from zoovet.networks import Graph, Networks
from zoovet.tasks.network_pool import Batch
from zoovet.tasks.population import Population

__all__ = ["AugmentationConfig", "View", "draw_augmented", "perturb", "with_noise"]


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """What is done to training networks, each time they are drawn.

    Attributes:
        weight_noise: Standard deviation of Gaussian noise, in units of that of each tensor's own weights; 0 adds none.
        sibling_mixing: A network moves towards or away from its sibling by up to this share of their difference; 0 to
            below one half.
        kernel_symmetries: Whether all kernels of a network are turned and mirrored alike: the same network for
            images turned and mirrored (up to a shift of a pixel, where strides are larger than 1).
        class_permutations: Whether the output classes of a network are shuffled.
        search_dropout: Share of inversion's searches of which nothing is shown, so that a metanetwork does not come to
            rest on the one that tells most of its training networks.

    Raises:
        ZoovetError: A value out of its range.
    """

    weight_noise: float = 0.0
    sibling_mixing: float = 0.0
    kernel_symmetries: bool = False
    class_permutations: bool = False
    search_dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight_noise <= 1:
            raise ZoovetError(f"weight_noise must lie between 0 and 1, got {self.weight_noise}")
        if not 0 <= self.sibling_mixing < 0.5:
            raise ZoovetError(f"sibling_mixing must be at least 0 and below 0.5, got {self.sibling_mixing}")
        if not 0 <= self.search_dropout < 1:
            raise ZoovetError(f"search_dropout must be at least 0 and below 1, got {self.search_dropout}")


@dataclass(frozen=True, eq=False)
class View:
    """How B networks of one graph are turned and their classes ordered; undoing it gives back what it was applied to.

    Attributes:
        turns: bool [3, B], whether a network's kernels are mirrored in their columns, in their rows, and transposed (in
            that order), or ``None``. Transposing needs square kernels and maps throughout; others are only mirrored.
        classes: int64 [B, num_outputs]: output channel k becomes the network's channel ``classes[b, k]``, or ``None``.
    """

    turns: Tensor | None
    classes: Tensor | None

    @classmethod
    def draw(cls, networks: Networks, config: AugmentationConfig, generator: torch.Generator) -> View:
        """A random view of networks; ``generator`` is on the CPU.

        Raises:
            ZoovetError: Views of such networks are not known.
        """
        if config.class_permutations and not networks.graph.is_chain:
            raise ZoovetError(
                "augmentation.class_permutations is for networks of layers one after another; set it to false for "
                f"{networks.graph.describe()}"
            )
        turns = classes = None
        if config.kernel_symmetries:
            turns = (torch.rand(3, len(networks), generator=generator) < 0.5).to(networks.device)
        if config.class_permutations:
            keys = torch.rand(len(networks), networks.graph.num_outputs, generator=generator)
            classes = keys.argsort(dim=1).to(networks.device)
        return cls(turns, classes)

    def __getitem__(self, places: slice) -> View:
        """That of some of the networks."""
        turns = None if self.turns is None else self.turns[:, places]
        return View(turns, None if self.classes is None else self.classes[places])

    def apply(self, networks: Networks) -> Networks:
        """The networks as seen in this view."""
        if self.turns is not None:
            networks = _turned(networks, (0, 1, 2), self.turns)
        return networks if self.classes is None else _with_classes(networks, self.classes)

    def undo(self, networks: Networks) -> Networks:
        """Networks (or changes of weights) in this view as they are without it; differentiable."""
        if self.turns is not None:
            networks = _turned(networks, (2, 1, 0), self.turns)
        return networks if self.classes is None else _with_classes(networks, self.classes.argsort(dim=1))


def draw_augmented(
    population: Population, indices: Tensor, config: AugmentationConfig, generator: torch.Generator
) -> tuple[Batch, list[View]]:
    """Networks of a population, perturbed, and a random view for each entry of the batch.

    Args:
        population: Where they come from.
        indices: int64 [B], which ones.
        config: What is done.
        generator: Of all draws, on the CPU.
    """
    batch = population.batch(indices)
    siblings = population.batch(population.sibling_or_self(batch.indices))
    pairs = zip(batch.networks, siblings.networks, strict=True)
    networks = [perturb(own, others, config, generator) for own, others in pairs]
    views = [View.draw(own, config, generator) for own in networks]
    evidence = batch.evidence
    if evidence is not None and config.search_dropout > 0:
        evidence = [_without_searches(own, config.search_dropout, generator) for own in evidence]
    return replace(batch, networks=networks, evidence=evidence), views


def perturb(networks: Networks, siblings: Networks, config: AugmentationConfig, generator: torch.Generator) -> Networks:
    """Mix B networks of one graph with their siblings and add noise, each by its own draws.

    Args:
        networks: What to change.
        siblings: [B] their siblings of the same graph; a network without one stands for itself.
        config: How much.
        generator: Of all draws, on the CPU.
    """
    if config.sibling_mixing > 0:
        shares = config.sibling_mixing * (2 * torch.rand(len(networks), generator=generator) - 1)
        networks = _mixed(networks, siblings, shares.to(networks.device, networks.dtype))
    if config.weight_noise > 0:
        networks = with_noise(networks, config.weight_noise, generator)
    return networks


def _without_searches(evidence: Evidence, share: float, generator: torch.Generator) -> Evidence:
    """Evidence of B networks without what some searches found, each network by its own draws.

    A search goes with all that was found by it: on each set of backgrounds and, where it is sought for all classes at
    once, of the classes' exchange too.
    """
    searches = sorted({search for name in evidence.classes if (search := _search_of(name))})
    kept = torch.rand(len(searches), len(evidence), generator=generator) >= share
    rows = dict(zip(searches, kept, strict=True))

    def dropped(where: tuple[str, ...], tensor: Tensor) -> Tensor:
        search = _search_of(where[-1]) if where[0] == "classes" else where[-1].removeprefix(NEXT)
        return tensor * _per_network(rows[search].to(tensor), tensor) if search in rows else tensor

    return Evidence.of_names({where: dropped(where, tensor) for where, tensor in evidence.named()})


def _search_of(name: str) -> str:
    """The search that numbers of classes are of; empty for what no search found."""
    before, dot, search = name.partition(".")
    return search if dot and (before.startswith(SET) or f"{before}." == NEXT) else ""


def _mixed(networks: Networks, siblings: Networks, shares: Tensor) -> Networks:
    """Each network moved towards its sibling by its share."""
    moved = {
        name: torch.lerp(tensor, siblings.parameters[name], _per_network(shares, tensor))
        for name, tensor in networks.parameters.items()
    }
    return Networks(networks.graph, moved)


def with_noise(networks: Networks, amount: float, generator: torch.Generator) -> Networks:
    """Each tensor plus Gaussian noise of ``amount`` times the standard deviation of each network's own numbers.

    Constants and the statistics of batch norms stay.
    """

    def noisy(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(_noisy(values, amount, generator) for values in tensors)

    graph = networks.graph
    if not graph.is_chain:
        learned = learned_names(graph)
        changed = {name: _noisy(networks.parameters[name], amount, generator) for name in learned}
        return Networks(graph, {**networks.parameters, **changed})
    # First all weights, then all biases: so it was drawn from the beginning.
    return Networks.from_layers(graph, noisy(networks.weights), noisy(networks.biases))


def _noisy(values: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    scale = values.flatten(1).std(dim=1, correction=0)
    noise = torch.randn(values.shape, generator=generator, dtype=values.dtype).to(values.device)
    return values + amount * _per_network(scale, values) * noise


def _turned(networks: Networks, steps: tuple[int, int, int], turns: Tensor) -> Networks:
    """Steps 0 (mirror columns), 1 (mirror rows), 2 (transpose) in the order given, on the networks that take them."""
    kernels = _kernels(networks.graph)
    are_square = all(shape[-2] == shape[-1] for shape in kernels.values())

    def turned(weight: Tensor) -> Tensor:
        for step in steps:
            if step < 2:
                weight = torch.where(_per_network(turns[step], weight), weight.flip(-1 - step), weight)
            elif are_square:
                weight = torch.where(_per_network(turns[step], weight), weight.mT, weight)
        return weight

    changed = dict(networks.parameters)
    for name, shape in kernels.items():
        weight = changed[name]
        changed[name] = turned(weight.unflatten(-1, shape[-3:]) if weight.ndim == 3 else weight).reshape(weight.shape)
    return Networks(networks.graph, changed)


def _kernels(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights that lie over places of an image, of linear ones that read whole maps too: (…, C, H, W)."""
    kernels = {}
    for operation in graph.operations:
        if operation.op == "conv2d":
            kernels[operation.parameters["weight"]] = tuple(graph.shapes[operation.parameters["weight"]])
        elif operation.op == "linear":
            maker = graph.makers.get(operation.inputs[0])
            maps = tuple(graph.sites[maker.inputs[0]].shape) if maker is not None and maker.op == "flatten" else ()
            if len(maps) == 3:
                kernels[operation.parameters["weight"]] = maps
    return kernels


def _with_classes(networks: Networks, order: Tensor) -> Networks:
    """Output channel k of network b becomes its channel ``order[b, k]``."""
    rows = torch.arange(len(networks), device=order.device)[:, None]
    weights = (*networks.weights[:-1], networks.weights[-1][rows, order])
    return Networks.from_layers(networks.graph, weights, (*networks.biases[:-1], networks.biases[-1][rows, order]))


def _per_network(values: Tensor, like: Tensor) -> Tensor:
    """[B] with as many further axes of length 1 as ``like`` has."""
    return values.reshape(-1, *(1 for _ in like.shape[1:]))
