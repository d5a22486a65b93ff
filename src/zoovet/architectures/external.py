"""Architectures from elsewhere: the user's own Python file, or a library that is installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from zoovet.architectures.transformers_config import module_of_config, with_names_of_files
from zoovet.errors import ZoovetError, nearest
from zoovet.printable import printable

__all__ = ["LIBRARIES", "external_module", "is_external", "library_names"]

LIBRARIES = ("torchvision", "timm", "transformers")
"""Whose networks are known by name where they are installed."""


def is_external(architecture: str) -> bool:
    """Whether a name is ``FILE.py:FUNCTION`` or ``LIBRARY:NAME``, and none of zoovet's own."""
    before, colon, _ = architecture.rpartition(":")
    return bool(colon) and (before.strip().lower() in LIBRARIES or before.endswith(".py"))


def external_module(architecture: str, num_classes: int | None) -> nn.Module:
    """The module of a name, with random weights.

    A file's code is run because the user named it; of a library nothing is downloaded.

    Args:
        architecture: ``my_net.py:make``, ``torchvision:resnet18``, ``timm:…``, ``transformers:…`` or
            ``transformers:FOLDER/config.json``.
        num_classes: For libraries; the architecture's own where left out.

    Raises:
        ZoovetError: There is no such file, function, library or name, or it cannot be made; the message names the
            nearest, or what to install.
    """
    before, _, name = architecture.rpartition(":")
    if before.endswith(".py"):
        return _own_module(Path(before), name)
    before, name = before.strip().lower(), name.strip()
    make, known = _imported(before, architecture)
    is_config = before == "transformers" and name.endswith(".json")
    if name not in known and not is_config:
        raise ZoovetError(f"{before} knows no '{printable(name)}'{printable(nearest(name, known), 300)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library's about its coming versions
            return module_of_config(Path(name), num_classes) if is_config else make(name, num_classes)
    except ZoovetError:
        raise
    except Exception as error:  # whatever the library raises
        raise ZoovetError(f"{printable(architecture)} cannot be made: {printable(error)}") from error


def library_names(library: str) -> Sequence[str]:
    """What a library calls its networks.

    Raises:
        ZoovetError: It cannot be imported.
    """
    return _imported(library, f"{library}:NAME")[1]


def _imported(library: str, architecture: str) -> tuple[Callable[[str, int | None], nn.Module], Sequence[str]]:
    """How a library makes a network, and what it calls them."""
    try:
        return _library(library)
    except Exception as error:  # ImportError, or as torchvision's where it is of another version than torch
        missing = isinstance(error, ModuleNotFoundError) and error.name == library
        way = (
            f"pip install {library}"
            if isinstance(error, ImportError)
            else f"install the {library} that fits this torch"
        )
        raise ZoovetError(
            f"{printable(architecture)} needs {library}, which cannot be imported"
            f"{'' if missing else f' ({printable(error)})'}: {way}"
        ) from error


def _library(name: str) -> tuple[Callable[[str, int | None], nn.Module], Sequence[str]]:
    library: Any = importlib.import_module(name)
    if name == "torchvision":
        models: Any = importlib.import_module("torchvision.models")
        return (
            lambda own, classes: models.get_model(
                own, weights=None, **({} if classes is None else {"num_classes": classes})
            ),
            models.list_models(models),
        )
    if name == "timm":
        return (
            lambda own, classes: library.create_model(
                own, pretrained=False, **({} if classes is None else {"num_classes": classes})
            ),
            library.list_models(),
        )
    configs: Any = importlib.import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING

    def make(own: str, classes: int | None) -> nn.Module:
        config = configs[own]() if classes is None else configs[own](num_labels=classes)
        module: nn.Module = library.AutoModelForImageClassification.from_config(config)
        return with_names_of_files(module)

    return make, list(configs)


def _own_module(path: Path, name: str) -> nn.Module:
    if not path.is_file():
        raise ZoovetError(f"there is no file {printable(path)} to take {printable(name)} from")
    spec = importlib.util.spec_from_file_location("zoovet_own_architecture", path)
    if spec is None or spec.loader is None:
        raise ZoovetError(f"{printable(path)} cannot be run as Python")
    own = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))  # it may import its neighbours
    try:
        spec.loader.exec_module(own)
        make = getattr(own, name, None)
        if not callable(make):
            names = [key for key, value in vars(own).items() if callable(value) and not key.startswith("_")]
            raise ZoovetError(
                f"{printable(path)} has no '{printable(name)}' to call{printable(nearest(name, names), 300)}"
            )
        module = make()
    except ZoovetError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise ZoovetError(
            f"{printable(path)}:{printable(name)} failed, {type(error).__name__}: {printable(error)}"
        ) from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    if not isinstance(module, nn.Module):
        raise ZoovetError(
            f"{printable(path)}:{printable(name)} gave {type(module).__name__}, expected is a torch.nn.Module"
        )
    return module
