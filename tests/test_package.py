"""The package as a whole: what importing it does, how its files are formed, and that its documents tell the truth."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import zoovet
from zoovet.cli.arguments import VerbParser, parse_verb
from zoovet.cli.main import VERBS, verb_module

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "zoovet").rglob("*.py"))
TESTS = sorted(path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def test_every_public_name_can_be_used_and_is_listed() -> None:
    for name in zoovet.__all__:
        assert getattr(zoovet, name) is not None
        assert name in dir(zoovet)
    with pytest.raises(AttributeError, match="no attribute 'Detektor'"):
        _ = zoovet.Detektor


def test_importing_the_package_or_asking_for_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, zoovet\n"
        "from zoovet.cli.main import main\n"
        "assert main(['--help']) == 0\n"
        "print(sorted({'torch', 'numpy', 'lightning', 'rich', 'pyarrow', 'sklearn'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_a_source_file_is_short_and_says_what_it_offers(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert _beyond_limits(path) == []
    assert ast.get_docstring(tree), "a module says what it is"
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    if {name for name in defined if not name.startswith("_")}:
        module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        offered = importlib.import_module(module).__all__
        assert all(hasattr(importlib.import_module(module), name) for name in offered)


def test_tests_are_short_too() -> None:
    assert [what for path in TESTS for what in _beyond_limits(path)] == []


def test_what_is_too_long_is_found(tmp_path: Path) -> None:
    body = "    x = 1\n" * MAX_FUNCTION_LINES
    long = tmp_path / "long.py"
    long.write_text(f"class A:\n  def f(self):\n{body}\nasync def g():\n{body}" + "\n" * MAX_FILE_LINES)
    assert [what.split("long.py")[1] for what in _beyond_limits(long)] == [
        " has 524 lines",
        ": g has 61 lines",
        ": f has 61 lines",
    ]


def _beyond_limits(path: Path) -> list[str]:
    """What in a file is longer than files and functions (their docstrings and signatures counted) may be."""
    text = path.read_text(encoding="utf-8")
    num_lines = len(text.splitlines())
    found = [f"{path} has {num_lines} lines"] if num_lines > MAX_FILE_LINES else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                found.append(f"{path}: {node.name} has {lines} lines")
    return found


def test_no_code_uses_the_word_todo_and_no_print_outside_the_command_line() -> None:
    for path in SOURCES:
        assert "TODO" not in path.read_text(encoding="utf-8"), path


def test_the_rooms_import_downward_only() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values()), "setuptools"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    names = {re.split(r"[\[<>=~!; ]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    assert names - pinned == set()


def _commands(document: Path) -> list[list[str]]:
    """Every `zoovet ...` command in the indented blocks of a document."""
    lines = document.read_text(encoding="utf-8").splitlines()
    found = [re.match(r"    (?:\$ |.*/)?zoovet (?P<rest>.+)$", line) for line in lines]
    return [shlex.split(match["rest"], comments=True) for match in found if match]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_commands_of_the_documents_are_accepted(document: Path) -> None:
    for name, *words in _commands(document):
        assert name in VERBS
        arguments = parse_verb(VerbParser(name, verb_module(name)), words)
        if "config" in vars(arguments):
            assert (ROOT / arguments.config).is_file(), f"{document.name} names {arguments.config}"


def test_the_documents_show_every_verb() -> None:
    shown = {name for document in DOCUMENTS for name, *_ in _commands(document)}
    assert shown == set(VERBS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_make_targets_of_the_documents_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^    |`)make ([a-z-]+)", text, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"{document.name} names make {target}"
