"""Workers that are copies of this process: a new one takes seconds to import PyTorch."""

from __future__ import annotations

import importlib.util
import sys
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType

import pytest

from zoovet.jobs import process_workers


@pytest.fixture
def quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_workers, "get_context", lambda _: get_context("fork"))


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module beside this one, by a name under which it can be pickled."""
    graph = importlib.util.spec_from_file_location("works_of_job_tests", Path(__file__).parent / "works.py")
    assert graph is not None
    assert graph.loader is not None
    module = importlib.util.module_from_spec(graph)
    monkeypatch.setitem(sys.modules, graph.name, module)
    graph.loader.exec_module(module)
    return module
