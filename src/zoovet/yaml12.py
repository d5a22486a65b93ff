"""YAML by the rules of YAML 1.2's core schema: ``1e-3`` is a number, ``on`` is text, no key comes twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from zoovet.errors import ZoovetError

__all__ = ["read_yaml", "received", "yaml_value"]


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ZoovetError: The file cannot be read, is not YAML, gives a key twice, or holds something else than a mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ZoovetError(f"there is no configuration file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ZoovetError(f"the configuration file {path} cannot be read: {error}") from None
    try:
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ZoovetError(f"{path} is not YAML: {_first_words(error)}") from None
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ZoovetError(f"{path} must hold a mapping with text keys (key: value), got {received(data)}")
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
        raise ZoovetError(f"{where}: {text!r} is not a YAML value: {_first_words(error)}") from None


def received(value: Any) -> str:
    """A value from YAML and its type, in an error's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"{str(value).lower()} (true or false)"
    kinds = {int: "an integer", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return f"{value!r} ({kinds.get(type(value), type(value).__name__)})"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema in place of 1.1's, and no key twice."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own attribute

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    problem = f"the key {key_node.value!r} is given twice"
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
        return f"{error.problem or error.context} (line {error.problem_mark.line + 1})"
    return str(error).splitlines()[0]
