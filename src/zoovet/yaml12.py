"""YAML by the rules of YAML 1.2's core schema: ``1e-3`` is a number, ``on`` is text, no key comes twice.

What a configuration has no use for and a hostile file has is refused: aliases (which expand without bound), tags beyond
the core schema's, values nested without end, integers of thousands of digits.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.text_files import read_text_file

__all__ = ["MAX_YAML_BYTES", "read_yaml", "received", "yaml_value"]

MAX_YAML_BYTES = 256 << 10
"""What a file may weigh; reading that much takes a few seconds."""

_MAX_DEPTH = 32
_MAX_DIGITS = 64
_TAG = "tag:yaml.org,2002:"


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ZoovetError: The file cannot be read, is larger than :data:`MAX_YAML_BYTES`, not YAML, gives a key twice, holds
            an alias, or something else than a mapping.
    """
    shown = printable(path)
    text = read_text_file(path, MAX_YAML_BYTES, missing=f"there is no configuration file {shown}")
    try:
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ZoovetError(f"{shown} cannot be read as YAML: {_first_words(error)}") from None
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ZoovetError(f"{shown} must hold a mapping with text keys (key: value), got {received(data)}")
    return data


def yaml_value(text: str, where: str) -> Any:
    """The value that a text is in YAML.

    Args:
        text: One value.
        where: Where it came from, for the error.

    Raises:
        ZoovetError: It is not YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ZoovetError(f"{where}: '{printable(text)}' is not a YAML value: {_first_words(error)}") from None


def received(value: Any) -> str:
    """A value from YAML and its type, in an error's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"{str(value).lower()} (true or false)"
    kinds = {int: "an integer", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return f"{printable(repr(value))} ({kinds.get(type(value), type(value).__name__)})"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema in place of 1.1's, no key twice, no alias, nothing nested without end."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own attribute
    yaml_constructors = {  # noqa: RUF012
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(_TAG) in ("null", "bool", "int", "float", "str", "seq", "map")
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        start: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            problem = f"the alias *{printable(event.anchor, 40)}; write out what it stands for"
            raise yaml.composer.ComposerError(None, None, problem, start)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            problem = f"values nested more than {_MAX_DEPTH} deep"
            raise yaml.composer.ComposerError(None, None, problem, start)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, yaml.ScalarNode):
            self._require_meant(node)
        return node

    def _require_meant(self, node: yaml.ScalarNode) -> None:
        """A tag that is given must be what the scalar looks like (``!!int abc`` is not), an integer of use."""
        looks = self.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]
        as_given = (_TAG + "int", _TAG + "float", _TAG + "bool")
        if node.tag in as_given and node.tag != looks and (node.tag, looks) != (_TAG + "float", _TAG + "int"):
            problem = f"'{printable(node.value, 40)}' is no {node.tag.removeprefix(_TAG)}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        if looks == _TAG + "int" and node.tag != _TAG + "str" and len(node.value) > _MAX_DIGITS:
            problem = f"an integer of {len(node.value):,} digits"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    problem = f"the key '{printable(key_node.value, 60)}' is given twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:[tT]rue|TRUE|[fF]alse|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


def _first_words(error: yaml.YAMLError) -> str:
    """The problem and its line in one line of text."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{printable(error.problem or error.context)} (line {error.problem_mark.line + 1})"
    return printable(str(error).splitlines()[0])
