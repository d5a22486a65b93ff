"""Several nodes that are one operation: GELU, which exporters before opset 20 write with an error function."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from zoovet.readers.exported.values import Constant
from zoovet.readers.onnx.model import Node

__all__ = ["with_gelus"]


def with_gelus(nodes: Sequence[Node], constants: Mapping[str, Constant]) -> tuple[Node, ...]:
    """The nodes, the last of each x · ½ · (1 + erf(x / √2)) replaced by a GELU of x; the others are then read by none.

    Args:
        nodes: In an order in which they can run.
        constants: Initializers by name.
    """
    finder = _Finder(nodes, constants)
    found = [finder.gelu(node) for node in nodes if node.op == "Erf"]
    replaced = {gelu.index: gelu for gelu in found if gelu is not None}
    return tuple(replaced.get(node.index, node) for node in nodes)


class _Finder:
    def __init__(self, nodes: Sequence[Node], constants: Mapping[str, Constant]) -> None:
        self._makers = {name: node for node in nodes for name in node.outputs}
        self._readers: dict[str, list[Node]] = {}
        for node in nodes:
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)
        self._constants = constants

    def gelu(self, erf: Node) -> Node | None:
        source = self._scaled_source(erf.inputs[0]) if erf.inputs else None
        last = self._only_reader(erf.outputs[0], "Add")
        if source is None or last is None or self._number(_other(last, erf.outputs[0])) != 1:
            return None
        factors: list[str] = []
        for _ in range(2):
            made = last.outputs[0]
            last = self._only_reader(made, "Mul")
            if last is None:
                return None
            factors += self._factors(_other(last, made))
            if len(factors) == 2:
                break
        numbers = [self._number(name) for name in factors]
        if len(factors) != 2 or source not in factors or 0.5 not in numbers:
            return None
        return Node("Gelu", last.name, (source,), last.outputs, {}, last.index)

    def _scaled_source(self, name: str) -> str | None:
        """The value that was divided by the root of 2."""
        maker = self._makers.get(name)
        if maker is None or maker.op not in ("Div", "Mul") or len(maker.inputs) != 2:
            return None
        wanted = math.sqrt(2) if maker.op == "Div" else math.sqrt(0.5)
        for source, factor in (maker.inputs, maker.inputs[::-1])[: 1 if maker.op == "Div" else 2]:
            number = self._number(factor)
            if number is not None and math.isclose(number, wanted, rel_tol=1e-4):
                return source
        return None

    def _factors(self, name: str) -> list[str]:
        """The two factors of half a value; else the value itself."""
        maker = self._makers.get(name)
        if maker is not None and maker.op == "Mul" and 0.5 in map(self._number, maker.inputs):
            return list(maker.inputs)
        return [name]

    def _only_reader(self, name: str, op: str) -> Node | None:
        readers = self._readers.get(name, [])
        fits = len(readers) == 1 and readers[0].op == op and len(readers[0].inputs) == 2
        return readers[0] if fits else None

    def _number(self, name: str) -> float | None:
        maker = self._makers.get(name)
        constant = self._constants.get(name)
        if constant is None and maker is not None and maker.op == "Constant":
            constant = maker.attributes.get("value")
            if "value_float" in maker.attributes:
                number = maker.attributes["value_float"]
                return number if isinstance(number, float) else None
        if not isinstance(constant, Constant) or constant.tensor.numel() != 1:
            return None
        return float(constant.tensor.item())


def _other(node: Node, name: str) -> str:
    return node.inputs[1] if node.inputs[0] == name else node.inputs[0]
