"""An architecture of the user's own: a Python file's, a library's, a graph in JSON, or that of a network's file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from zoovet.architectures import read_module
from zoovet.architectures.external import external_module, is_external
from zoovet.errors import ZoovetError
from zoovet.json_files import read_json_object
from zoovet.networks import Graph
from zoovet.printable import printable
from zoovet.readers import networks_from_content, read_content, says_its_graph
from zoovet.readers.exported.modules import graph_from_module
from zoovet.zoo.park.families.family import Family, Settings

__all__ = ["GivenFamily"]


@dataclass(frozen=True, kw_only=True)
class GivenFamily(Family):
    """One architecture, not drawn.

    Attributes:
        family: Which family it is.
        source: my_net.py:make, a function without arguments that gives a torch module, whose code is run;
            torchvision:resnet18 and the like; a graph's JSON file; or a network's file, whose architecture is taken.
        architecture: What the network of a state dict is, where names and shapes leave it open: mlp:activation=relu.
        variants: It is one.
    """

    family: Literal["given"] = "given"
    source: str
    architecture: str | None = None
    variants: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.source:
            raise ZoovetError("source of an architecture must name a file, or FILE.py:FUNCTION, got nothing")
        if self.variants != 1:
            raise ZoovetError(f"variants of a given architecture must be 1, got {self.variants}")

    def draw(self, generator: np.random.Generator) -> Settings:
        """See :meth:`Family.draw`."""
        return {"source": self.source}

    def graph(self, settings: Settings, input_shape: tuple[int, int, int], num_classes: int) -> Graph:
        """See :meth:`Family.graph`."""
        graph, shown = self.own_graph(input_shape, num_classes), printable(self.source)
        if graph.input_shape != input_shape:
            raise ZoovetError(
                f"{shown} reads {list(graph.input_shape)} (channels, height, width), the images are "
                f"{list(input_shape)}; say size and color of the images"
            )
        if len(graph.output_shape) != 1 or graph.answers != "logits":
            raise ZoovetError(
                f"{shown} answers {graph.answers.replace('_', ' ')} {list(graph.output_shape)}; training needs logits, "
                f"one a class: leave a softmax at the end out"
            )
        if graph.num_outputs < num_classes:
            raise ZoovetError(f"{shown} tells {graph.num_outputs} classes apart, the images have {num_classes}")
        return graph

    def own_graph(self, input_shape: tuple[int, ...], num_classes: int) -> Graph:
        """The architecture as it is, which may read images of another shape than is asked for.

        Args:
            input_shape: ``(channels, height, width)``, where the source leaves it open.
            num_classes: What a library's network is made for.

        Raises:
            ZoovetError: It cannot be read.
        """
        try:
            return _graph_of(self.source, self.architecture, input_shape, num_classes)
        except ZoovetError as error:
            raise ZoovetError(str(error).replace("give --architecture ", "give architecture: ")) from error


def _graph_of(source: str, architecture: str | None, input_shape: tuple[int, ...], num_classes: int) -> Graph:
    if is_external(source):
        return graph_from_module(external_module(source, num_classes), input_shape).graph
    path = Path(source).expanduser()
    if path.suffix == ".json":
        return Graph.from_json(read_json_object(path, missing=f"there is no file {printable(path)}"))
    content, shown = read_content(path), printable(source)
    if content.graph is not None:
        return content.graph.read(input_shape, None).networks.graph
    if says_its_graph(content):
        return networks_from_content(content, shown).networks.graph
    return graph_from_module(read_module(content, architecture, shown, image=input_shape).module, input_shape).graph
