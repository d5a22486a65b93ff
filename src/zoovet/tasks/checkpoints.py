"""Checkpoints that users load: one safetensors file with a JSON description in its header. Reading runs no code.

The description holds a digest of the tensors, and the header one of the description (:mod:`.checkpoint_integrity`).
Both are compared whenever a checkpoint is opened; one of an earlier zoovet has none, and is opened without.
"""

from __future__ import annotations

import json
import math
import platform
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.files import atomic_path
from zoovet.json_files import parse_json
from zoovet.printable import printable
from zoovet.tasks.checkpoint_integrity import digest_of_tensors, digest_of_text, require_finite_tensors

__all__ = [
    "CHECKPOINT_NAME",
    "FORMAT_VERSION",
    "Checkpoint",
    "Description",
    "library_versions",
    "load_checkpoint",
    "load_description",
    "save_checkpoint",
]

CHECKPOINT_NAME = "checkpoint.safetensors"
"""File of a run's folder that holds its best metanetwork."""

FORMAT_VERSION = 1
_METADATA_KEY = "zoovet"
_DIGEST_KEY = "zoovet_sha256"
"""Beside the description: its digest."""
_TENSORS_KEY = "tensors_sha256"
"""In the description: the digest of the tensors."""
_Read = TypeVar("_Read")
_EXTRA = "extra:"
"""Before the names of tensors that are no part of the metanetwork."""


@dataclass(frozen=True, eq=False)
class Description:
    """What a checkpoint says of itself.

    Attributes:
        path: The file it came from.
        description: What was saved with the tensors.
        has_digest: Whether it was compared with a digest; ``False`` for a checkpoint of an earlier version.
    """

    path: Path
    description: dict[str, Any]
    has_digest: bool = True

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


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint(Description):
    """A trained metanetwork as stored.

    Attributes:
        tensors: Parameters and buffers by name, on the CPU.
        extra: Further tensors by name, on the CPU; none in what earlier versions wrote.
    """

    tensors: dict[str, Tensor]
    extra: dict[str, Tensor]

    def to_bytes(self) -> bytes:
        """A file that :func:`load_checkpoint` reads back as this."""
        tensors = self.tensors | {f"{_EXTRA}{name}": tensor for name, tensor in self.extra.items()}
        return save(tensors, metadata=_metadata(self.description, tensors))

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
    metadata = _metadata({"format_version": FORMAT_VERSION, "kind": kind, **description}, tensors)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def _metadata(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The description as text, with the digest of the tensors in it and its own beside it."""
    text = json.dumps({**description, _TENSORS_KEY: digest_of_tensors(tensors)})
    return {_METADATA_KEY: text, _DIGEST_KEY: digest_of_text(text)}


def load_checkpoint(path: str | Path, kind: str) -> Checkpoint:
    """Read a checkpoint, and check that it is as it was written.

    Args:
        path: A run's folder, or the file itself.
        kind: What it must be for.

    Raises:
        ZoovetError: It is missing, truncated or damaged otherwise, no checkpoint, for something else, of another format
            version, or has NaN or infinite numbers.
    """
    file = _file_at(Path(path))
    metadata, tensors = _opened(file, _tensors_of)
    found, digest = _described(file, metadata, kind)
    if digest is not None and digest != digest_of_tensors(tensors):
        raise ZoovetError(
            f"{printable(file)} is damaged: its tensors are not those that were written (their SHA-256 differs); get "
            f"it anew, or train it again"
        )
    require_finite_tensors(tensors, file)
    extra = {name.removeprefix(_EXTRA): tensors.pop(name) for name in list(tensors) if name.startswith(_EXTRA)}
    return Checkpoint(file, found, digest is not None, tensors=tensors, extra=extra)


def load_description(path: str | Path, kind: str) -> Description:
    """Read what a checkpoint says of itself, without its tensors; else as :func:`load_checkpoint`."""
    file = _file_at(Path(path))
    metadata, _ = _opened(file, lambda opened: None)
    found, digest = _described(file, metadata, kind)
    return Description(file, found, digest is not None)


def _file_at(path: Path) -> Path:
    """The checkpoint's file: a regular one, so that nothing waits for a pipe's other end."""
    shown = printable(path)
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
        file = path / CHECKPOINT_NAME if is_folder else path
        if not stat.S_ISREG(file.stat().st_mode):
            raise ZoovetError(f"{printable(file)} is no regular file; give the folder of a `zoovet train` run")
    except (FileNotFoundError, NotADirectoryError):
        is_folder = path.is_dir()
        where = f"the folder {shown} has no {CHECKPOINT_NAME}" if is_folder else f"there is no file or folder {shown}"
        raise ZoovetError(f"{where}; give the folder of a run that `zoovet train` made") from None
    except OSError as error:
        raise ZoovetError(f"{shown} cannot be read: {error.strerror or error}") from error
    return file


def _opened(file: Path, read: Callable[[Any], _Read]) -> tuple[dict[str, str], _Read]:
    """The texts in a file's header, and what is read of it besides."""
    try:
        with safe_open(file, framework="pt") as opened:
            return opened.metadata() or {}, read(opened)
    except (OSError, SafetensorError) as error:
        raise ZoovetError(f"{printable(file)} is damaged or no checkpoint: {printable(error)}") from error
    except Exception as error:  # of damaged headers the library raises more than its own error
        said = f"{type(error).__name__}: {printable(error)}"
        raise ZoovetError(f"{printable(file)} is damaged or no checkpoint: {said}") from error


def _tensors_of(opened: Any) -> dict[str, Tensor]:
    return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping


def _described(file: Path, metadata: Mapping[str, str], kind: str) -> tuple[dict[str, Any], str | None]:
    """The description in a header, checked, and the digest of the tensors, where it says one."""
    text, digest, shown = metadata.get(_METADATA_KEY), metadata.get(_DIGEST_KEY), printable(file)
    if text is not None and digest is not None and digest != digest_of_text(text):
        raise ZoovetError(
            f"{shown} is damaged: its description is not the one that was written (its SHA-256 differs); get it anew, "
            f"or train it again"
        )
    description = parse_json(text or "null", f"the description in {shown}")
    if not isinstance(description, dict) or "format_version" not in description:
        raise ZoovetError(f"{shown} holds weights but no description by zoovet; give the folder of a run")
    if description["format_version"] != FORMAT_VERSION:
        raise ZoovetError(
            f"{shown} has format version {printable(description['format_version'])}; this zoovet reads {FORMAT_VERSION}"
        )
    if description.get("kind") != kind:
        found = _with_article(printable(description.get("kind")))
        raise ZoovetError(f"{shown} holds {found}, but {_with_article(kind)} is needed")
    digest_of_its_tensors = description.pop(_TENSORS_KEY, None)
    if (digest is None) != (digest_of_its_tensors is None):
        raise ZoovetError(f"{shown} is damaged: of its two SHA-256 one is missing; get it anew, or train it again")
    return description, digest_of_its_tensors


def _with_article(kind: str) -> str:
    words = kind.replace("_", " ")
    return f"{'an' if words[:1] in set('aeiou') else 'a'} {words}"


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a result depends on."""
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("zoovet", "torch", "lightning")},
    }
