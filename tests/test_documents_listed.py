"""Every command and block of Python in the documents is run by a test, or listed with the reason why none does."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import Any

import pytest

from zoovet.cli.arguments import VerbParser, parse_verb
from zoovet.cli.main import verb_module
from zoovet.config import config_keys, read_yaml


@pytest.fixture
def unrun(documents: Any) -> list[str]:
    """Commands that no test runs."""
    every = [command for page in documents.pages for command in documents.commands(page)]
    return [command for command in every if "because" in documents.entry(command)]


def test_each_command_is_listed_and_each_entry_has_one(documents: Any) -> None:
    fitting = [documents.entry(command)["match"] for page in documents.pages for command in documents.commands(page)]
    assert len(fitting) > 90
    assert {entry["match"] for entry in documents.entries} == set(fitting)
    for entry in documents.entries:
        assert ("runs_in" in entry) != ("because" in entry)
        for place in re.findall(r"tests/[\w/.]*\w", str(entry)):
            assert (documents.root / place).exists(), place
        if "runs_in" in entry:
            assert "run_by(" in (documents.root / entry["runs_in"]).read_text(encoding="utf-8")


def test_each_page_with_python_is_listed(documents: Any) -> None:
    assert {page for page in documents.pages if documents.python(page)} == documents.python_pages.keys()
    for page, test in documents.python_pages.items():
        assert page.removeprefix("docs/") in (documents.root / test).read_text(encoding="utf-8")


def test_the_words_of_what_is_not_run_are_the_commands_own(documents: Any, unrun: list[str]) -> None:
    asked = [shlex.split(command)[1:] for command in unrun if re.match(r"(\.venv/bin/)?zoovet ", command)]
    assert len(asked) > 40
    for name, *words in asked:
        verb = verb_module(name)
        arguments = parse_verb(VerbParser(name, verb), words)
        known = {key.name for cls in verb.config_classes().values() for key in config_keys(cls)}
        assert set(arguments.overrides) <= known, words
        for word in words:
            if word.endswith(".yaml"):
                assert read_yaml(documents.root / word)


def test_scripts_targets_and_extras_of_what_is_not_run_are_there(documents: Any, unrun: list[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (documents.root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    project = tomllib.loads((documents.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for command in unrun:
        for script in re.findall(r"^python (\S+\.py)", command):
            assert (documents.root / script).is_file()
        for target in re.findall(r"(?:^|\s)make (\S+)", command):
            assert target in targets
        for extras in re.findall(r"zoovet\[(.*?)\]", command):
            assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_what_is_not_listed_is_found(documents: Any) -> None:
    with pytest.raises(AssertionError, match="says nothing of: zoovet unheard of"):
        documents.entry("zoovet unheard of")
