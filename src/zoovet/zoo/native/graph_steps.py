"""Steps of a compiled trainer: calls of C functions for an image, and what collects them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zoovet.networks import INPUT, Graph, Operation
from zoovet.zoo.native.graph_activations import fused_norms
from zoovet.zoo.native.graph_lanes import MOST_LANES, padded
from zoovet.zoo.native.graph_plan import SitePlaces

__all__ = ["Barrier", "Emitter", "Step", "StepKind", "adds_to", "is_unread"]


@dataclass(frozen=True)
class Step:
    """A C statement for image n.

    Attributes:
        text: The statement.
        is_of_batch: Only a batch needs it.
        makes: Number of the site whose values it makes.
    """

    text: str
    is_of_batch: bool = False
    makes: int | None = None


@dataclass(frozen=True)
class Barrier:
    """A C statement that needs all images of the batch to have come this far."""

    text: str


class Emitter:
    """Collects functions, parameter layouts and norms while operations become steps.

    Args:
        graph: What is compiled.
        places: Where its sites lie.
        drops: Whether a training may drop values behind activations, which norms then are no one step with.
    """

    def __init__(self, graph: Graph, places: Mapping[str, SitePlaces], *, drops: bool = False) -> None:
        self.graph, self.places, self.drops = graph, dict(places), drops
        self.fused = {} if drops else fused_norms(graph)
        self.functions: list[str] = []
        self.packing: list[str] = []
        self.unpacking: list[str] = []
        self.before_evaluation: list[str] = []
        self.after_evaluation: list[str] = []
        self.norm_channels: list[int] = []
        self.num_packed = 0
        self.packed: dict[str, tuple[int, int, int]] = {}
        self.norms: dict[str, int] = {}
        self._names: dict[str, str] = {}
        starts = [0]
        for parameter in graph.parameters:
            starts.append(starts[-1] + parameter.num_numbers)
        self._starts = {parameter.name: start for parameter, start in zip(graph.parameters, starts, strict=False)}

    def call(self, arguments: str, body: str, *given: str) -> str:
        """A call of a function with this body, which calls of the same body share."""
        text = f"({arguments}) {{ {body} }}"
        if text not in self._names:
            self._names[text] = f"step_{len(self._names)}"
            self.functions.append(f"static __attribute__((noinline)) void {self._names[text]}{text}")
        return f"{self._names[text]}({', '.join(given)});"

    def value(self, site: str) -> str:
        """C for a site's values."""
        return f"V({self.places[site].number})"

    def gradient(self, site: str) -> str:
        """C for a site's gradients."""
        return f"G({self.places[site].number})"

    def flat(self, operation: Operation, role: str, of: str = "flat") -> str:
        """C for where a parameter starts in the flat vector, or NULL where there is none."""
        name = operation.parameters.get(role)
        return "NULL" if name is None else f"s->{of} + {self._starts[name]}"

    def room(self, count: int) -> int:
        """Where ``count`` floats of packed weights start, on a vector's boundary."""
        start = self.num_packed
        self.num_packed += padded(count, MOST_LANES) + MOST_LANES
        return start


@dataclass(frozen=True)
class StepKind:
    """What an operation is to the trainer.

    Attributes:
        forward: Its steps forward.
        backward: ``backward(emitter, operation, written, is_batch)``: its steps back, where ``written`` holds the sites
            whose gradients stand there already.
    """

    forward: Callable[[Emitter, Operation], list[Step | Barrier]]
    backward: Callable[[Emitter, Operation, set[str], bool], list[Step | Barrier]]


def adds_to(written: set[str], site: str) -> int:
    """1 where a gradient is to be added to what others wrote, else 0; it stands there from now on."""
    there = site in written
    written.add(site)
    return int(there)


def is_unread(site: str, is_batch: bool) -> bool:
    """Whether nobody wants the gradient: that to the images, while weights are trained."""
    return is_batch and site == INPUT
