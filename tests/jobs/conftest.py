"""Workers that are copies of this process: a new one takes seconds to import PyTorch."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

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


@pytest.fixture
def small_zoo() -> dict[str, Any]:
    """A recipe whose bases take a second; how many there are, whoever asks for it says."""
    return {
        "dataset": "digits",
        "channels": [8, 8],
        "train_images": 400,
        "test_images": 100,
        "min_clean_accuracy": 0.2,
        "min_asr": 0.1,
    }


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of two nodes of one core each, on this machine; the first cannot be removed."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    path = os.pathsep.join([str(Path(__file__).parents[2] / "src"), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    found.second = found.add_node(num_cpus=1)
    yield found
    ray.shutdown()
    found.shutdown()
