"""zoovet learns on neural networks: a network is a data point.

It builds zoos of small networks, healthy and poisoned, tells which carry a trojan by reading their weights, and
repairs those that do by editing their weights. The names below are the public interface; each is imported when it is
first used, so that ``import zoovet`` is quick and has no side effects.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zoovet.errors import ZoovetError

if TYPE_CHECKING:
    from zoovet import shipped, symmetry
    from zoovet.images.images import Images
    from zoovet.metanets.scalegmn import ScaleGMN, ScaleGMNConfig
    from zoovet.networks.batch import Networks
    from zoovet.networks.graph import Graph
    from zoovet.networks.run import run
    from zoovet.networks.scaling import InputScaling
    from zoovet.readers.files import load_networks, save_networks
    from zoovet.tasks.classifier import Classifier
    from zoovet.tasks.detector import Detector
    from zoovet.tasks.inr_editor import InrEditor
    from zoovet.tasks.repairer import TrainedRepairer
    from zoovet.vet.healed_network import HealedNetwork
    from zoovet.vet.network import Network
    from zoovet.vet.reading import from_module, read
    from zoovet.vet.repairer import Repairer
    from zoovet.vet.scanner import Scanner
    from zoovet.vet.verdicts import Verdict
    from zoovet.zoo.store import Zoo

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "Detector",
    "Graph",
    "HealedNetwork",
    "Images",
    "InputScaling",
    "InrEditor",
    "Network",
    "Networks",
    "Repairer",
    "ScaleGMN",
    "ScaleGMNConfig",
    "Scanner",
    "TrainedRepairer",
    "Verdict",
    "Zoo",
    "ZoovetError",
    "__version__",
    "from_module",
    "load_networks",
    "read",
    "run",
    "save_networks",
    "shipped",
    "symmetry",
]

_HOMES = {
    "Classifier": "zoovet.tasks.classifier",
    "Detector": "zoovet.tasks.detector",
    "HealedNetwork": "zoovet.vet.healed_network",
    "Images": "zoovet.images.images",
    "InrEditor": "zoovet.tasks.inr_editor",
    "InputScaling": "zoovet.networks.scaling",
    "Network": "zoovet.vet.network",
    "Graph": "zoovet.networks.graph",
    "Networks": "zoovet.networks.batch",
    "Repairer": "zoovet.vet.repairer",
    "ScaleGMN": "zoovet.metanets.scalegmn",
    "ScaleGMNConfig": "zoovet.metanets.scalegmn",
    "Scanner": "zoovet.vet.scanner",
    "TrainedRepairer": "zoovet.tasks.repairer",
    "Verdict": "zoovet.vet.verdicts",
    "Zoo": "zoovet.zoo.store",
    "from_module": "zoovet.vet.reading",
    "load_networks": "zoovet.readers.files",
    "read": "zoovet.vet.reading",
    "run": "zoovet.networks.run",
    "save_networks": "zoovet.readers.files",
}


def __getattr__(name: str) -> Any:
    """Import a public name's home when the name is first used (PEP 562)."""
    if name in ("shipped", "symmetry"):
        return importlib.import_module(f"zoovet.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
