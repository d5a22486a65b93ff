"""Keras' layers that read several others."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from zoovet.readers.exported.values import Unreadable
from zoovet.readers.keras.calls import LayerCall, LayerReader, Map

__all__ = ["JOINS"]


def _merge(op: str) -> LayerReader:
    def read(call: LayerCall) -> Map:
        if len(call.inputs) < 2:
            raise Unreadable("reads one layer alone")
        first, *others = call.inputs
        if any(one.flattened != first.flattened for one in others):
            first, *others = (Map(call.plain(one)) for one in call.inputs)
        site, rank = first.site, len(call.shape_of(first))
        for one in others:
            if len(call.shape_of(one)) != rank:
                raise Unreadable("joins values of several numbers of axes")
            site = call.add(op, site, one.site)
        return Map(site, first.flattened)

    return read


def _average(call: LayerCall) -> Map:
    total = _merge("add")(call)
    return Map(call.add("mul_scalar", total.site, scalar=1 / len(call.inputs)), total.flattened)


def _arithmetic(op: str) -> LayerReader:
    def read(call: LayerCall) -> Map:
        if len(call.layer.operands) != 2:
            raise Unreadable(f"has {len(call.layer.operands)} operands, expected are two")
        first, second = call.layer.operands
        if second is not None:
            return _with_number(call, op, second)
        return _merge(op)(call) if first is None else _number_first(call, op, first)

    return read


def _with_number(call: LayerCall, op: str, number: float) -> Map:
    if op in ("add", "sub"):
        return call.like("add_scalar", scalar=number if op == "add" else -number)
    return call.like("mul_scalar", scalar=number if op == "mul" else 1 / number)


def _number_first(call: LayerCall, op: str, number: float) -> Map:
    if op == "div":
        raise Unreadable("divides a number by values")
    if op == "sub":
        turned = call.like("mul_scalar", scalar=-1.0)
        return Map(call.add("add_scalar", turned.site, scalar=number), turned.flattened)
    return _with_number(call, op, number)


def _concatenate(call: LayerCall) -> Map:
    sites = [call.plain(one) for one in call.inputs]
    return Map(call.add("cat", *sites, dim=call.axis(int(call.config.get("axis", -1)))))


JOINS: Mapping[str, LayerReader] = MappingProxyType(
    {
        "arithmetic:add": _arithmetic("add"),
        "arithmetic:divide": _arithmetic("div"),
        "arithmetic:multiply": _arithmetic("mul"),
        "arithmetic:subtract": _arithmetic("sub"),
        "Add": _merge("add"),
        "Average": _average,
        "Concatenate": _concatenate,
        "Maximum": _merge("maximum"),
        "Minimum": _merge("minimum"),
        "Multiply": _merge("mul"),
        "Subtract": _merge("sub"),
    }
)
"""Class of a layer → what writes it."""
