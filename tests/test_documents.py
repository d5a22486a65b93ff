"""The documents: their Python names what there is, and the site's menu names every page."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import zoovet

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def python_blocks(text: str) -> list[str]:
    """Indented and fenced blocks that import zoovet."""
    found = re.findall(r"(?:^ {4}.*\n|^\n)+", text, re.MULTILINE)
    indented = [re.sub("^ {4}", "", block, flags=re.MULTILINE) for block in found]
    fenced = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block for block in [*indented, *fenced] if re.search(r"^(?:import|from) zoovet\b", block, re.MULTILINE)]


def used_names(block: str) -> set[str]:
    """What a block uses of the package: ``zoovet.Images.from_folder``, and what it imports from it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("zoovet."):
            found.add(re.split(r"[(\[]", ast.unparse(node))[0])
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "zoovet":
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def resolved(name: str) -> Any:
    """The object of a dotted name; modules are imported on the way."""
    value: Any = zoovet
    path = "zoovet"
    for part in name.split(".")[1:]:
        path = f"{path}.{part}"
        if not hasattr(value, part):
            importlib.import_module(path)
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_in_the_documents_names_what_there_is(document: Path) -> None:
    for block in python_blocks(document.read_text(encoding="utf-8")):
        for name in used_names(block):
            assert resolved(name) is not None, name


def test_wrong_names_are_found() -> None:
    block = "    import zoovet\n\n    zoovet.Images.from_floder('a').labels\n"
    (own,) = python_blocks(f"text\n\n{block}\nmore\n")
    assert "zoovet.Images.from_floder" in used_names(own)
    with pytest.raises(ImportError):
        resolved("zoovet.Images.from_floder")


def test_the_sites_menu_has_every_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = set(re.findall(r"[\w-]+\.md", str(yaml.safe_load(text)["nav"])))
    assert pages == {path.name for path in (ROOT / "docs").glob("*.md")}
    assert yaml.safe_load(text)["strict"] is True


def test_the_readme_is_about_one_screen_and_a_half() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 75
