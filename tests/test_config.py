"""Configurations are read strictly: what is unknown, missing or of another type is named, with its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from zoovet.config import ConfigKey, config_keys, config_to_dict, dotted, read_config, read_yaml, write_config
from zoovet.errors import ZoovetError


@dataclass(frozen=True, kw_only=True)
class Metanetwork:
    """Inner configuration.

    Attributes:
        width: Numbers a neuron
            carries.
        direction: Which way messages go.
    """

    width: int = 4
    direction: Literal["forward", "bidirectional"] = "forward"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ZoovetError(f"width must be at least 1, got {self.width}")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where networks come from.

    Attributes:
        zoo: Folder of the zoo.
    """

    zoo: Path
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """A whole run.

    Attributes:
        rate, decay: Both of the optimizer.
        name: What to call it.
    """

    data: Data
    rate: float = 1e-3
    decay: float = 0.0
    compiled: bool = False
    name: str = "run"
    note: str | None = None
    sizes: tuple[int, ...] = (1, 2)
    window: tuple[float, float] = (0.5, 1.0)
    places: tuple[str, ...] | None = None
    metanetwork: Metanetwork = field(default_factory=Metanetwork)
    wide: Metanetwork = field(default_factory=lambda: Metanetwork(width=100))


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_file_gives_the_dataclass_and_leaves_the_rest_at_its_defaults(written: Callable[[str], Path]) -> None:
    path = written("data: {zoo: zoos/a, limit: 3}\nrate: 1e-4\nmetanetwork:\n  direction: bidirectional\n")
    assert read_config(Run, path) == Run(
        data=Data(zoo=Path("zoos/a"), limit=3), rate=1e-4, metanetwork=Metanetwork(direction="bidirectional")
    )


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ("rate=1e-5", "rate", 1e-5),
        ("rate=2", "rate", 2.0),
        ("compiled=true", "compiled", True),
        ("name=007", "name", "007"),
        ("name=a=b", "name", "a=b"),
        ("name=null", "name", "null"),
        ("note=null", "note", None),
        ("note=true", "note", "true"),
        ("sizes=[3, 4, 5]", "sizes", (3, 4, 5)),
        ("sizes=[]", "sizes", ()),
        ("window=[0, 1e-2]", "window", (0.0, 0.01)),
        ("places=[on, off]", "places", ("on", "off")),
        ("metanetwork.width=8", "metanetwork", Metanetwork(width=8)),
        ("metanetwork={width: 9}", "metanetwork", Metanetwork(width=9)),
    ],
)
def test_an_override_wins_over_the_file(
    written: Callable[[str], Path], override: str, name: str, value: object
) -> None:
    config = read_config(Run, written("rate: 5.0\ndata: {zoo: z}\n"), [override])
    assert getattr(config, name) == value
    assert type(getattr(config, name)) is type(value)


def test_a_required_key_may_come_from_the_command_line() -> None:
    assert read_config(Run, {}, {"data.zoo": "zoos/a"}).data.zoo == Path("zoos/a")
    assert read_config(Run, {"data": None}, ["data.zoo=zoos/a"]).data.zoo == Path("zoos/a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rat: 1.0", r"run\.yaml: unknown key 'rat'; did you mean 'rate'\?$"),
        (
            "metanetwork: {widht: 3}",
            r"run\.yaml: unknown key 'metanetwork\.widht'; did you mean 'metanetwork\.width'\?$",
        ),
        ("width: 3", r"run\.yaml: unknown key 'width'; did you mean 'metanetwork\.width'\?$"),
        ("metanetwrk: {width: 3}", r"unknown key 'metanetwrk'; did you mean 'metanetwork'\?$"),
        ("data: {zzz: 3}", r"unknown key 'data\.zzz'; known: 'data\.zoo', 'data\.limit'$"),
        ("rate: fast", r"run\.yaml: 'rate' must be a number, got 'fast' \(text\)$"),
        ("rate: true", r"'rate' must be a number, got true \(true or false\)$"),
        ("rate: null", r"'rate' must be a number, got null$"),
        ("compiled: 1", r"'compiled' must be true or false, got 1 \(an integer\)$"),
        ("compiled: on", r"'compiled' must be true or false, got 'on' \(text\)$"),
        ("name: 3", r"'name' must be text, got 3 \(an integer\)$"),
        ("metanetwork: {width: 3.0}", r"'metanetwork\.width' must be an integer, got 3\.0 \(a number\)$"),
        ("metanetwork: {width: 0}", r"run\.yaml: metanetwork: width must be at least 1, got 0$"),
        ("metanetwork: 3", r"'metanetwork' must be a mapping \(key: value\), got 3 \(an integer\)$"),
        (
            "metanetwork: {direction: up}",
            r"'metanetwork\.direction' must be forward or bidirectional, got 'up' \(text\)$",
        ),
        ("sizes: 3", r"'sizes' must be a list, each an integer, got 3"),
        ("sizes: [1, a]", r"'sizes\[1\]' must be an integer, got 'a' \(text\)$"),
        ("window: [1]", r"'window' must be a list of 2 \(a number, a number\), got \[1\] \(a list\)$"),
        ("data: {limit: x, zoo: z}", r"'data\.limit' must be an integer or null, got 'x' \(text\)$"),
        ("rate: 1.0", r"run\.yaml: the key 'data\.zoo' is missing; it takes a path$"),
        ("rate: [", r"run\.yaml cannot be read as YAML: .*line \d"),
        ("rate: 1\nrate: 2", r"run\.yaml cannot be read as YAML: the key 'rate' is given twice \(line 2\)$"),
        ("[1, 2]", r"run\.yaml must hold a mapping with text keys \(key: value\), got \[1, 2\] \(a list\)$"),
        ("1: 2", r"run\.yaml must hold a mapping with text keys"),
        ("rate: !!python/object/apply:os.system [true]", r"run\.yaml cannot be read as YAML: could not determine"),
    ],
)
def test_a_bad_file_is_refused_by_name(written: Callable[[str], Path], text: str, message: str) -> None:
    path = written(text)
    with pytest.raises(ZoovetError, match=message):
        read_config(Run, path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "metanetwork.widht=3",
            r"^--metanetwork\.widht: unknown key 'metanetwork\.widht'; did you mean 'metanetwork\.width'",
        ),
        ("rate.x=3", r"^--rate\.x: unknown key 'rate\.x'"),
        (
            "metanetwork.width=wide",
            r"^--metanetwork\.width: 'metanetwork\.width' must be an integer, got 'wide' \(text\)$",
        ),
        ("sizes=[1", r"^--sizes: '\[1' is not a YAML value: "),
        ("rate", r"^an override must look like key=value or group\.key=value, got 'rate'$"),
        ("=3", r"^an override must look like key=value"),
        ("data.zoo=", r"^--data\.zoo: 'data\.zoo' must be a path, got '' \(text\)$"),
    ],
)
def test_a_bad_override_is_refused_by_its_flag(override: str, message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        read_config(Run, {"data": {"zoo": "z"}}, [override])


def test_a_group_and_a_key_in_it_cannot_both_be_overridden() -> None:
    with pytest.raises(ZoovetError, match=r"^--metanetwork and --metanetwork\.width are both given"):
        read_config(Run, {"data": {"zoo": "z"}}, ["metanetwork={width: 9}", "metanetwork.width=8"])


def test_an_override_inside_a_value_that_is_no_group_blames_the_file() -> None:
    with pytest.raises(ZoovetError, match=r"^a\.yaml: 'metanetwork' must be a mapping"):
        read_config(Run, {"metanetwork": 3}, ["metanetwork.width=8"], where="a.yaml")


def test_what_a_group_leaves_out_is_as_the_configuration_has_it_not_as_the_group_alone() -> None:
    config = read_config(Run, {"data": {"zoo": "z"}, "wide": {"direction": "bidirectional"}})
    assert config.wide == Metanetwork(width=100, direction="bidirectional")
    assert {key.name: key.default for key in config_keys(Run)}["wide.width"] == "100"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=r"there is no configuration file .*none\.yaml"):
        read_config(Run, tmp_path / "none.yaml")
    with pytest.raises(ZoovetError, match="cannot be read"):
        read_yaml(tmp_path)


def test_what_is_written_reads_back_to_the_same(tmp_path: Path) -> None:
    config = Run(data=Data(zoo=Path("z")), rate=1e-9, name="null", note="1.0", sizes=(), places=("off", "3", ""))
    write_config(config, tmp_path / "config.yaml")
    assert read_config(Run, tmp_path / "config.yaml") == config
    assert read_config(Run, config_to_dict(config)) == config
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml"]


def test_keys_are_listed_for_help_with_what_the_docstring_says() -> None:
    keys = {key.name: key for key in config_keys(Run)}
    assert keys["data.zoo"] == ConfigKey("data.zoo", "a path", None, "Folder of the zoo.")
    assert keys["rate"] == ConfigKey("rate", "a number", "0.001", "Both of the optimizer.")
    assert keys["decay"].meaning == "Both of the optimizer."
    assert keys["metanetwork.width"] == ConfigKey("metanetwork.width", "an integer", "4", "Numbers a neuron carries.")
    assert keys["sizes"].default == "[1, 2]"
    assert keys["note"].default == "null"
    assert "metanetwork" not in keys


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One kind of model.

    Attributes:
        kind: Which.
        width: Features of a node.
        depth: Rounds.
    """

    kind: Literal["graph"] = "graph"
    width: int = 4
    depth: int = 2


@dataclass(frozen=True, kw_only=True)
class Flat:
    """Another kind of model."""

    kind: Literal["flat"] = "flat"
    width: int = 512
    rate: float = 0.5
    depth: str = "deep"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A configuration that takes either, and one that may be left out."""

    model: Graph | Flat = field(default_factory=lambda: Graph(width=9))
    second: Flat | Graph | None = None


@pytest.mark.parametrize(
    ("values", "overrides", "expected"),
    [
        ({}, [], Choice()),
        ({"model": {"depth": 3}}, [], Choice(model=Graph(width=9, depth=3))),
        ({"model": {"kind": "flat"}}, [], Choice(model=Flat())),
        ({"model": {"kind": "flat", "width": 7}}, [], Choice(model=Flat(width=7))),
        ({"model": {"kind": "graph"}}, [], Choice(model=Graph(width=9))),
        ({"model": {"kind": "graph"}}, ["model.kind=flat", "model.rate=1"], Choice(model=Flat(rate=1.0))),
        ({"second": {"width": 1}}, [], Choice(second=Flat(width=1))),
        ({"second": {"kind": "graph"}}, [], Choice(second=Graph())),
        ({"second": None}, [], Choice()),
    ],
)
def test_kind_says_which_of_several_dataclasses_is_meant(
    values: dict[str, object], overrides: list[str], expected: Choice
) -> None:
    config = read_config(Choice, values, overrides)
    assert config == expected
    assert read_config(Choice, config_to_dict(config)) == config


@pytest.mark.parametrize(
    ("values", "overrides", "message"),
    [
        (
            {"model": {"kind": "flt"}},
            [],
            "here: 'model.kind' must be .* 'flt' \\(text\\); did you mean 'flat'\\?$",
        ),
        ({"model": {"kind": ["flat"]}}, [], "here: 'model.kind' must be graph or flat, got \\['flat'\\] \\(a list\\)$"),
        ({}, ["model.kind=none"], "^--model.kind: 'model.kind' must be graph or flat, got 'none'"),
        ({"model": {"rate": 0.1}}, [], "here: the key 'model.rate' means nothing where kind is 'graph'$"),
        ({"model": {"kind": "flat", "depth": 1}}, [], "here: 'model.depth' must be text, got 1"),
        ({"model": {"widht": 1}}, [], "unknown key 'model.widht'; did you mean 'model.width'"),
        ({"model": 3}, [], "here: 'model' must be a mapping \\(key: value\\), got 3"),
    ],
)
def test_a_wrong_kind_and_a_key_of_another_kind_are_refused(
    values: dict[str, object], overrides: list[str], message: str
) -> None:
    with pytest.raises(ZoovetError, match=message):
        read_config(Choice, values, overrides, where="here")


def test_keys_of_all_kinds_are_listed_once() -> None:
    keys = {key.name: key for key in config_keys(Choice)}
    assert keys["model.kind"].expected == "graph or flat"
    assert keys["model.kind"].default == "graph"
    assert (keys["model.width"].default, keys["model.width"].meaning) == ("9", "Features of a node.")
    assert keys["model.depth"].expected == "an integer or text"
    assert keys["model.rate"].default == "0.5"


def test_nested_values_are_named_by_their_places() -> None:
    nested = {"a": {"b": 1, "c": [1, 2]}, "d": [{"e": 3}, {"e": 4, "f": {}}, 5], "g": []}
    assert dotted(nested) == {"a.b": 1, "a.c": [1, 2], "d[0].e": 3, "d[1].e": 4, "d[2]": 5, "g": []}
