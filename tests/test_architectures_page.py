"""The table of architectures says what was computed, and that its figures are within what is promised."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def rows() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks/results/architectures.json").read_text(encoding="utf-8"))
    return found


def test_the_page_is_made_of_the_rows(rows: dict[str, Any]) -> None:
    graph = importlib.util.spec_from_file_location("page", ROOT / "benchmarks/architectures/page.py")
    assert graph is not None
    assert graph.loader is not None
    module = importlib.util.module_from_spec(graph)
    graph.loader.exec_module(module)
    assert (ROOT / "docs/architectures.md").read_text(encoding="utf-8") == module.page(rows)


def test_figures_are_within_what_is_promised(rows: dict[str, Any]) -> None:
    for name, row in rows.items():
        for way, read in row["read"].items():
            assert read.get("deviation", 0) <= 1e-5, (name, way)
        assert row.get("symmetry", {}).get("deviation", 0) <= 1e-10, name
        assert row.get("scalegmn", {}).get("deviation", 0) <= 1e-10, name
    assert rows["torchvision:resnet18"]["scalegmn"]["cost"]["gb"] <= 4
