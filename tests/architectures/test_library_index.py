"""The index of libraries' networks: by names and shapes, whatever the number of classes, the order or a prefix."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from zoovet.architectures.library_index import common_prefix, digest, index_as_text, library_index

SHAPES = {"stem.weight": (8, 3, 3, 3), "stem.bias": (8,), "norm.running_mean": (8,), "head.weight": (1000, 8)}


def test_a_digest_is_of_names_and_shapes_alone() -> None:
    known = digest(SHAPES)
    assert re.fullmatch(r"[0-9a-f]{12}", known)
    assert digest(dict(reversed(SHAPES.items()))) == known
    assert digest(SHAPES | {"head.weight": (10, 8)}) == known
    assert digest(SHAPES | {"norm.num_batches_tracked": ()}) == known
    assert digest({f"module.net.{name}": shape for name, shape in SHAPES.items()}) == known
    assert digest(SHAPES | {"head.weight": (1000, 9)}) != known
    assert digest(SHAPES | {"head.bias": (1000,)}) != known
    assert digest({name.replace("stem", "first"): shape for name, shape in SHAPES.items()}) != known


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["module.conv.weight", "module.fc.weight"], "module."),
        (["module.net.conv.weight", "module.net.fc.bias"], "module.net."),
        (["module.token", "module.blocks.0.weight"], "module."),  # of a vision transformer
        (["fc.weight", "fc.bias"], ""),
        (["net.0.weight", "net.0.bias"], "net."),
        (["conv.weight", "fc.weight"], ""),
        (["token", "blocks.0.weight"], ""),
        ([], ""),
    ],
)
def test_what_all_names_begin_with_is_a_prefix(names: list[str], prefix: str) -> None:
    assert common_prefix(names) == prefix


def test_an_index_lists_networks_by_their_digests() -> None:
    networks = {"net_b": SHAPES, "net": SHAPES, "other": {"a.weight": (1, 2)}}
    text = index_as_text({"timm": "9.9"}, {"timm": networks})
    assert json.loads(text) == {
        "timm": {"version": "9.9", "networks": {digest(SHAPES): ["net", "net_b"], digest(networks["other"]): ["other"]}}
    }


def test_the_index_is_of_the_versions_that_the_makefile_installs() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    for library, known in library_index().items():
        assert f" {library}=={known.version}" in makefile, "make library-index"
        assert len(known.names) == sum(map(len, known.networks.values()))
    assert [*library_index()] == ["torchvision", "timm"]
