"""Where each site of a graph lies in the compiled trainer's memory: channels in whole vectors, zeros around a map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zoovet.networks import INPUT, Graph
from zoovet.networks.ops import Site
from zoovet.zoo.native.convolution_shape import ConvolutionShape, Sides
from zoovet.zoo.native.graph_lanes import MOST_LANES, lanes_of, padded
from zoovet.zoo.native.libraries import NativeUnavailable

__all__ = ["Place", "SitePlaces", "needed_operations", "site_places"]

_NO_SIDES: Sides = (0, 0, 0, 0)


@dataclass(frozen=True)
class Place:
    """How one image's numbers of a site lie.

    Attributes:
        height, width, channels: Of the map; a vector is a map of 1 × 1.
        pixel: Floats from a pixel to the next.
        sides: Rows and columns of zeros around it (top, left, bottom, right).
        lanes: Numbers a vector.
    """

    height: int
    width: int
    channels: int
    pixel: int
    sides: Sides
    lanes: int

    @property
    def row(self) -> int:
        """Floats from a row to the next."""
        return (self.width + self.sides[1] + self.sides[3]) * self.pixel

    @property
    def start(self) -> int:
        """Where the first pixel is."""
        return self.sides[0] * self.row + self.sides[1] * self.pixel

    @property
    def size(self) -> int:
        """Floats an image, and a vector more, which a read of the last pixel may touch."""
        return (self.height + self.sides[0] + self.sides[2]) * self.row + MOST_LANES

    @property
    def constant(self) -> str:
        """The C code's ``place``."""
        return f"(place){{{self.height}, {self.width}, {padded(self.channels, self.lanes)}, {self.row}, {self.pixel}}}"


@dataclass(frozen=True)
class SitePlaces:
    """A site's number, and where its values and their gradients lie."""

    number: int
    value: Place
    gradient: Place


def needed_operations(graph: Graph) -> list[str]:
    """Names of the sites that the output needs, in the graph's order, without the input."""
    needed = {graph.output}
    for operation in reversed(graph.operations):
        if operation.output in needed:
            needed.update(operation.inputs)
    return [operation.output for operation in graph.operations if operation.output in needed]


def site_places(graph: Graph) -> Mapping[str, SitePlaces]:
    """Name of a site → its places, for all that the output needs.

    Raises:
        NativeUnavailable: A site is neither a vector nor a map.
    """
    names = needed_operations(graph)
    values, gradients, reads_vectors = dict.fromkeys([INPUT, *names], _NO_SIDES), {INPUT: _NO_SIDES}, False
    for name in names:
        operation = graph.makers[name]
        gradients[name] = _NO_SIDES
        if operation.op in ("conv2d", "linear"):
            shape = ConvolutionShape.of(graph, operation)
            source = operation.inputs[0]
            values[source] = _most(values[source], shape.input_sides)
            gradients[name] = shape.gradient_sides
            reads_vectors |= source == INPUT and shape.is_depthwise
        else:
            reads_vectors |= INPUT in operation.inputs
    places, lanes = {}, lanes_of(graph)
    for number, (name, sides) in enumerate(values.items()):
        height, width, channels = _map_size(name, graph.sites[name])
        pixel = channels if name == INPUT and not reads_vectors else padded(channels, lanes)
        value = Place(height, width, channels, pixel, sides, lanes)
        whole, around = padded(channels, lanes), gradients.get(name, _NO_SIDES)
        places[name] = SitePlaces(number, value, Place(height, width, channels, whole, around, lanes))
    return places


def _most(first: Sides, second: Sides) -> Sides:
    return (
        max(first[0], second[0]),
        max(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
    )


def _map_size(name: str, site: Site) -> tuple[int, int, int]:
    if len(site.shape) == 1:
        return 1, 1, site.shape[0]
    if len(site.shape) == 3:
        return site.shape[1], site.shape[2], site.shape[0]
    raise NativeUnavailable(f"it knows maps and vectors only, but the site {name!r} is {list(site.shape)}")
