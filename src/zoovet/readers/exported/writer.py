"""Writing a graph while a traced program is read: sites, parameters and their tensors, and names for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph, Operation
from zoovet.networks.graph_builder import GraphBuilder
from zoovet.networks.ops import Site
from zoovet.readers.exported.values import NUM_IMAGES, Constant, Unreadable, Variable

__all__ = ["GraphWriter"]


class GraphWriter:
    """A :class:`GraphBuilder` that knows the tensors of parameters, and where in the module it is.

    Args:
        input_shape: Of an image.
        dtype: That all parameters are to have.
    """

    def __init__(self, input_shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self._builder = GraphBuilder(input_shape)
        self._dtype = dtype
        self._tensors: dict[str, Tensor] = {}
        self.name = ""
        """What the operations that are written next are called."""

    def add(
        self, op: str, *inputs: str, parameters: Mapping[str, Constant | None] | None = None, **attributes: Any
    ) -> str:
        """Write an operation; a role whose constant is ``None`` is left out.

        Returns:
            The site that it makes.
        """
        given = {role: constant for role, constant in (parameters or {}).items() if constant is not None}
        names = {role: self._parameter(constant, role) for role, constant in given.items()}
        return self._builder.add(op, *inputs, name=self.name, parameters=names, **attributes)

    def site(self, name: str) -> Site:
        """What a site holds."""
        return self._builder.site(name)

    def maker(self, name: str) -> Operation | None:
        """The operation that makes a site; ``None`` for the input."""
        return self._builder.maker(name)

    def networks(self, output: str) -> Networks:
        """The graph that answers with a site, and its one network."""
        graph: Graph = self._builder.graph(output)
        return Networks.one(graph, {name: self._tensors[name] for name in graph.shapes})

    def reshape(self, value: Variable, shape: Sequence[int]) -> Variable:
        """A value in another shape, as traced; nothing is written where the site stays as it is."""
        result = value.reshaped(value.site, shape)
        if result.site_shape == value.site_shape:
            return result
        groups = self._shuffled_groups(value.site, result.site_shape)
        if groups is not None:
            return value.reshaped(self.add("channel_shuffle", groups[0], groups=groups[1]), shape)
        if result.is_plain and len(shape) == 2 and value.is_plain:
            return value.reshaped(self.add("flatten", value.site), shape)
        return value.reshaped(self.add("reshape", value.site, shape=result.site_shape), shape)

    def permute(self, value: Variable, order: Sequence[int]) -> Variable:
        """A value with its axes in another order."""
        result = value.permuted(value.site, order)
        kept = order if value.is_merged else [axis for axis in order if axis != value.axis]
        dims = tuple(axis if value.is_merged else value.site_axis(axis) for axis in kept)
        if dims == tuple(range(len(dims))):
            return result
        return value.permuted(self.add("permute", value.site, dims=dims), order)

    def variable(self, constant: Constant, shape: Sequence[int]) -> Variable:
        """A constant repeated for each image.

        Args:
            constant: Broadcasts to ``shape``; 1 at the axis of images.
            shape: As traced, the axis of images included.
        """
        axes = [axis for axis, size in enumerate(shape) if size % NUM_IMAGES == 0]
        own = (*(1,) * (len(shape) - constant.tensor.ndim), *constant.tensor.shape)
        fits = len(own) == len(shape) and all(one in (1, size) for one, size in zip(own, shape, strict=True))
        if len(axes) != 1 or shape[axes[0]] != NUM_IMAGES or not fits:
            raise Unreadable("repeats a constant in a way that depends on the number of images")
        result = Variable("", tuple(shape), axes[0])
        small = (*own[: axes[0]], *own[axes[0] + 1 :])
        site = self.constant_site(constant, small)
        if small != result.site_shape:
            site = self.add("expand", site, shape=result.site_shape)
        return result.like(site, shape)

    def beside(self, constant: Constant, value: Variable) -> str:
        """A site for a constant that is broadcast against a value.

        Raises:
            Unreadable: It has other numbers for each image, or more axes.
        """
        own = tuple(constant.tensor.shape)
        missing = len(value.shape) - len(own)
        if missing < 0:
            raise Unreadable(f"puts {list(own)} numbers beside values of fewer axes")
        aligned = (*(1,) * missing, *own)
        if aligned[value.axis] != 1:
            raise Unreadable("has other constants for each image")
        shape = aligned if value.is_merged else (*aligned[: value.axis], *aligned[value.axis + 1 :])
        channels = self.site(value.site).channel_axis
        axis = None
        if channels is not None and shape[channels] != 1:
            traced = channels + (not value.is_merged and channels >= value.axis)
            axis = traced - missing
        return self.constant_site(constant, shape, axis)

    def constant_site(self, constant: Constant, shape: tuple[int, ...], channel_axis: int | None = None) -> str:
        """A site that holds a constant in a shape of as many numbers."""
        site = self.add("parameter", parameters={"value": constant}, channel_axis=channel_axis)
        return site if tuple(constant.tensor.shape) == shape else self.add("reshape", site, shape=shape)

    def _shuffled_groups(self, site: str, shape: tuple[int, ...]) -> tuple[str, int] | None:
        """The site whose channels were dealt to groups and taken up crosswise, and how many groups; else ``None``."""
        crossed = self._builder.maker(site)
        if crossed is None or crossed.op != "permute" or crossed.attributes["dims"][:2] != (1, 0):
            return None
        dims, dealt = crossed.attributes["dims"], self._builder.maker(crossed.inputs[0])
        if dims[2:] != tuple(range(2, len(dims))) or dealt is None or dealt.op != "reshape":
            return None
        groups, channels, *rest = dealt.attributes["shape"]
        if self.site(dealt.inputs[0]).shape != shape or shape != (groups * channels, *rest):
            return None
        return dealt.inputs[0], groups

    def _parameter(self, constant: Constant, role: str) -> str:
        tensor = constant.tensor
        if tensor.dtype == torch.bool or not tensor.dtype.is_floating_point:
            tensor = tensor.to(self._dtype)
        if tensor.dtype != self._dtype:
            raise Unreadable(f"reads a parameter of {tensor.dtype} in a network of {self._dtype}")
        name = constant.name or self._new_name(f"{self.name}.{role}", tensor)
        if name in self._tensors and not torch.equal(self._tensors[name], tensor):
            name = self._new_name(name, tensor)  # as where a file calls a tensor as another is called here
        self._tensors.setdefault(name, tensor.detach())
        return self._builder.parameter(name, tuple(tensor.shape), is_constant=not constant.is_learned)

    def _new_name(self, name: str, tensor: Tensor) -> str:
        unique, number = name, 1
        while unique in self._tensors and self._tensors[unique] is not tensor:
            number += 1
            unique = f"{name}_{number}"
        return unique
