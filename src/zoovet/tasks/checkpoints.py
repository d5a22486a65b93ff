"""Checkpoints that users load: one safetensors file with a JSON description in its header. Reading runs no code."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.files import atomic_path
from zoovet.json_files import parse_json

__all__ = ["CHECKPOINT_NAME", "FORMAT_VERSION", "Checkpoint", "library_versions", "load_checkpoint", "save_checkpoint"]

CHECKPOINT_NAME = "checkpoint.safetensors"
"""File of a run's folder that holds its best metanetwork."""

FORMAT_VERSION = 1
_METADATA_KEY = "zoovet"
_EXTRA = "extra:"
"""Before the names of tensors that are no part of the metanetwork."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained metanetwork as stored.

    Attributes:
        path: The file it came from.
        tensors: Parameters and buffers by name, on the CPU.
        description: What was saved with them.
        extra: Further tensors by name, on the CPU; none in what earlier versions wrote.
    """

    path: Path
    tensors: dict[str, Tensor]
    description: dict[str, Any]
    extra: dict[str, Tensor]

    def get(self, key: str) -> Any:
        """An entry of the description.

        Raises:
            ZoovetError: It is not there.
        """
        if key not in self.description:
            raise ZoovetError(f"{self.path} is not as zoovet writes it: its description lacks {key!r}")
        return self.description[key]

    def numbers(self, key: str, count: int = 1, default: tuple[float, ...] | None = None) -> tuple[float, ...]:
        """An entry of the description that is a finite number or a list of such.

        Args:
            key: Which.
            count: How many they are.
            default: What they are where an earlier version wrote the checkpoint, which lacks them.

        Raises:
            ZoovetError: It is something else, or not there and has no default.
        """
        if default is not None and key not in self.description:
            return default
        found = self.get(key)
        values = found if isinstance(found, list) else [found]
        are_numbers = all(type(value) in (int, float) and math.isfinite(value) for value in values)
        if not are_numbers or len(values) != count:
            wanted = "a finite number" if count == 1 else f"{count} finite numbers"
            raise ZoovetError(f"{self.path} is not as zoovet writes it: {key!r} should be {wanted}, got {found!r}")
        return tuple(values)

    def to_bytes(self) -> bytes:
        """A file that :func:`load_checkpoint` reads back as this."""
        tensors = self.tensors | {f"{_EXTRA}{name}": tensor for name, tensor in self.extra.items()}
        return save(tensors, metadata={_METADATA_KEY: json.dumps(self.description)})

    def load_into(self, module: nn.Module) -> None:
        """Put the tensors into a module.

        Raises:
            ZoovetError: Names or shapes differ; the message names the first.
        """
        expected = module.state_dict()
        for name in sorted(expected.keys() ^ self.tensors.keys()):
            what = "lacks" if name in expected else "has the unknown"
            raise ZoovetError(f"{self.path} {what} tensor {name!r}: it does not fit the metanetwork it describes")
        for name, tensor in expected.items():
            if tensor.shape != self.tensors[name].shape:
                raise ZoovetError(
                    f"{self.path}: tensor {name!r} has the shape {list(self.tensors[name].shape)}, the metanetwork it "
                    f"describes needs {list(tensor.shape)}"
                )
        module.load_state_dict(self.tensors)


def save_checkpoint(
    path: Path, kind: str, module: nn.Module, description: dict[str, Any], extra: Mapping[str, Tensor] | None = None
) -> None:
    """Write a module's tensors and a description as one file, atomically.

    Args:
        path: The file.
        kind: What it is for: ``detector``, ``repairer``.
        module: Its parameters and buffers are written.
        description: JSON values.
        extra: Further tensors, by name.
    """
    named = module.state_dict() | {f"{_EXTRA}{name}": tensor for name, tensor in (extra or {}).items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
    text = json.dumps({"format_version": FORMAT_VERSION, "kind": kind, **description})
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_METADATA_KEY: text})


def load_checkpoint(path: str | Path, kind: str) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: A run's folder, or the file itself.
        kind: What it must be for.

    Raises:
        ZoovetError: It is missing, truncated, no checkpoint, for something else, or of another format version.
    """
    path = Path(path)
    file = path / CHECKPOINT_NAME if path.is_dir() else path
    if not file.is_file():
        where = f"the folder {path} has no {CHECKPOINT_NAME}" if path.is_dir() else f"there is no file or folder {path}"
        raise ZoovetError(f"{where}; give the folder of a run that `zoovet train` made")
    try:
        with safe_open(file, framework="pt") as opened:
            text = (opened.metadata() or {}).get(_METADATA_KEY)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise ZoovetError(f"{file} is damaged or no checkpoint: {error}") from error
    description = parse_json(text or "null", f"the description in {file}")
    if not isinstance(description, dict) or "format_version" not in description:
        raise ZoovetError(f"{file} holds weights but no description by zoovet; give the folder of a run")
    if description["format_version"] != FORMAT_VERSION:
        raise ZoovetError(
            f"{file} has format version {description['format_version']}; this zoovet reads {FORMAT_VERSION}"
        )
    if description.get("kind") != kind:
        found = _with_article(str(description.get("kind")))
        raise ZoovetError(f"{file} holds {found}, but {_with_article(kind)} is needed")
    extra = {name.removeprefix(_EXTRA): tensors.pop(name) for name in list(tensors) if name.startswith(_EXTRA)}
    return Checkpoint(file, tensors, description, extra)


def _with_article(kind: str) -> str:
    words = kind.replace("_", " ")
    return f"{'an' if words[:1] in set('aeiou') else 'a'} {words}"


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a result depends on."""
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("zoovet", "torch", "lightning")},
    }
