"""GraphBuilder: a graph written down operation by operation, as readers and random draws do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.networks.graph import Graph
from zoovet.networks.operations import INPUT, Operation, Parameter
from zoovet.networks.ops import Shape, Site
from zoovet.networks.scaling import InputScaling
from zoovet.printable import printable

__all__ = ["GraphBuilder"]


class GraphBuilder:
    """Collects parameters and operations, and knows the shape of every site so far.

    Args:
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``.
    """

    def __init__(self, input_shape: Shape) -> None:
        self.input_shape = tuple(input_shape)
        self._parameters: dict[str, Parameter] = {}
        self._makers: dict[str, Operation] = {}
        self._sites = {INPUT: Site(self.input_shape, 0)}
        self._names: dict[str, int] = {}

    def parameter(self, name: str, shape: Shape, *, is_constant: bool = False) -> str:
        """Declare a parameter, once or with the same shape again.

        Returns:
            Its name.

        Raises:
            ZoovetError: It was declared with another shape.
        """
        known = self._parameters.setdefault(name, Parameter(name=name, shape=tuple(shape), is_constant=is_constant))
        if known.shape != tuple(shape):
            raise ZoovetError(
                f"the parameter '{printable(name)}' is declared with the shapes {list(known.shape)} and {list(shape)}"
            )
        return name

    def add(
        self, op: str, *inputs: str, name: str = "", parameters: Mapping[str, str] | None = None, **attributes: Any
    ) -> str:
        """Add an operation behind the others.

        Args:
            op: Its name in the vocabulary.
            inputs: The sites that it reads.
            name: Of the site that it makes; the operation's where left out. Where there is one of that name, a number
                is put behind it.
            parameters: Role → name of a declared parameter.
            attributes: Its settings.

        Returns:
            The name of the site that it makes.

        Raises:
            ZoovetError: As :class:`Operation`, or a site or parameter is unknown, or shapes do not fit.
        """
        operation = Operation(
            op=op, inputs=inputs, output=self._unique(name or op), parameters=parameters or {}, attributes=attributes
        )
        for site in inputs:
            if site not in self._sites:
                raise ZoovetError(f"{operation.describe()} reads '{printable(site)}', which nothing made so far")
        for parameter in operation.parameters.values():
            if parameter not in self._parameters:
                raise ZoovetError(f"{operation.describe()} reads the parameter '{printable(parameter)}', not declared")
        shapes = {role: self._parameters[parameter].shape for role, parameter in operation.parameters.items()}
        try:
            site_made = operation.kind.infer(operation.attributes, [self._sites[site] for site in inputs], shapes)
        except ZoovetError as error:
            raise ZoovetError(f"{operation.describe()}: {error}") from None
        self._makers[operation.output] = operation
        self._sites[operation.output] = site_made
        return operation.output

    def site(self, name: str) -> Site:
        """What a site made so far holds."""
        return self._sites[name]

    def maker(self, name: str) -> Operation | None:
        """The operation that makes a site; ``None`` for the input."""
        return self._makers.get(name)

    def graph(self, output: str, input_scaling: InputScaling | None = None) -> Graph:
        """The graph that answers with one of the sites.

        Operations that the output does not need are left out, and parameters that are read by none.

        Raises:
            ZoovetError: As :class:`Graph`.
        """
        needed, kept = {output}, []
        for operation in reversed(self._makers.values()):
            if operation.output in needed:
                needed.update(operation.inputs)
                kept.append(operation)
        read = {parameter for operation in kept for parameter in operation.parameters.values()}
        return Graph(
            input_shape=self.input_shape,
            parameters=tuple(parameter for name, parameter in self._parameters.items() if name in read),
            operations=tuple(reversed(kept)),
            output=output,
            input_scaling=input_scaling,
        )

    def _unique(self, name: str) -> str:
        unique, number = name, self._names.get(name, 1)
        while unique in self._sites:
            number += 1
            unique = f"{name}_{number}"
        self._names[name] = number
        return unique
