"""What was found out about a file is not sought again while the file, the detectors and what is known of it stay.

Seeking triggers takes minutes, and the same files are scanned at each commit. What was sought is kept in ``scans`` of
the user's cache (:mod:`zoovet.private_cache`), named by a digest of all that it depends on.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import zoovet
from zoovet.architectures.external import is_external
from zoovet.images import Images
from zoovet.printable import printable
from zoovet.private_cache import NotPrivateError, keep, kept, private_folder
from zoovet.text_files import open_regular
from zoovet.vet.batches import Detectors
from zoovet.vet.cached_results import result_from_bytes, result_to_bytes
from zoovet.vet.candidates import Candidate
from zoovet.vet.file_result import FileResult
from zoovet.vet.scanner import Scanner, ScanProgress
from zoovet.vet.stranger_reader import StrangerReader
from zoovet.vet.suspects import ReadOptions

__all__ = ["ScanCache", "open_scan_cache", "scan_identity"]

_FOLDER = "scans"
_ELSEWHERE = b"location"
"""Stands in an ONNX file whose numbers lie in others."""


def scan_identity(
    options: ReadOptions,
    candidates: Sequence[Candidate],
    strangers: StrangerReader | None,
    **settings: str | float | None,
) -> str | None:
    """Digest of all that a file's result depends on, but for the file: detectors, options, images, code.

    Args:
        options: What is known of files besides.
        candidates: Detectors to choose from.
        strangers: The detector for strangers.
        **settings: The rest: effort, rates, thresholds, device.

    Returns:
        ``None`` where it cannot be known: an architecture's code is the user's, or another library's.
    """
    if options.architecture is not None and is_external(options.architecture):
        return None
    detectors = Detectors("cpu")
    parts = {
        "zoovet": [zoovet.__version__, _code_digest()],
        "torch": torch.__version__,
        "detectors": [detectors.version(candidate) for candidate in candidates],
        "strangers": None if strangers is None else strangers.version,
        "activation": options.activation,
        "order": options.order,
        "scaling": None if options.scaling is None else options.scaling.to_json(),
        "architecture": options.architecture,
        "images": None if options.images is None else _images_digest(options.images),
        "input_shape": options.input_shape,
        "output": options.output,
        "torchvision": _version("torchvision"),  # whose networks are found by names and shapes
        **settings,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def open_scan_cache(identity: str) -> tuple[ScanCache | None, str]:
    """The cache, or why there is none.

    Args:
        identity: From :func:`scan_identity`.
    """
    try:
        return ScanCache(private_folder(_FOLDER), identity), ""
    except (OSError, NotPrivateError) as error:
        return None, f"what was found is not kept for the next scan: {printable(error, 400)}"


@dataclass
class ScanCache:
    """Results of files.

    Attributes:
        folder: Where they lie; nobody else may write there.
        identity: Of all that they depend on, but for the files.
        num_found: Files whose result was there.
    """

    folder: Path
    identity: str
    num_found: int = 0

    def scan(
        self, scanner: Scanner, files: Sequence[Path], progress: Callable[[ScanProgress], None] | None = None
    ) -> Iterator[FileResult]:
        """As :meth:`~zoovet.vet.scanner.Scanner.scan_files`; files whose result is there are not scanned."""
        names, missing = dict[int, Path | None](), list[int]()
        stamps = dict[int, tuple[int, ...]]()
        for place, path in enumerate(files):
            stamp, name = _stamp(path), self._name(path)
            names[place], stamps[place] = name, stamp
            result = None if name is None else self._found(name, place, str(path))
            if result is None:
                missing.append(place)
                continue
            self.num_found += 1
            yield result
            if progress is not None:
                progress(ScanProgress(self.num_found, self.num_found))
        num_found = self.num_found

        def told(own: ScanProgress) -> None:
            if progress is not None:
                progress(replace(own, num_files=own.num_files + num_found, num_networks=own.num_networks + num_found))

        for own in scanner.scan_files([files[place] for place in missing], progress=told):
            place = missing[own.place]
            result = replace(own, place=place)
            name = names[place]
            if name is not None and _is_worth_keeping(result) and _stamp(files[place]) == stamps[place]:
                self._keep(result, name)
            yield result

    def _found(self, name: Path, place: int, file: str) -> FileResult | None:
        data = kept(name)
        return None if data is None else result_from_bytes(data, place, file)

    def _keep(self, result: FileResult, name: Path) -> None:
        try:
            keep(result_to_bytes(result), name)
        except OSError:
            return  # a full disk: it is sought again next time

    def _name(self, path: Path) -> Path | None:
        """Where a file's result lies; ``None`` where that depends on more than the file."""
        try:
            with os.fdopen(open_regular(path), "rb") as file:
                if os.fstat(file.fileno()).st_size == 0:
                    return None
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    if content.find(_ELSEWHERE) >= 0 or content[:1].isspace() or content[:1] in (b"{", b"["):
                        return None
                    digest = hashlib.sha256(content).hexdigest()
        except (OSError, ValueError):
            return None
        return self.folder / hashlib.sha256(f"{self.identity}\n{digest}".encode()).hexdigest()


def _is_worth_keeping(result: FileResult) -> bool:
    """Whether triggers were sought, in all of a file's networks that needed it, and nothing failed."""
    return result.failure is None and any(verdict.effort is not None for verdict in result.verdicts)


def _stamp(path: Path) -> tuple[int, ...]:
    """Changes when a file does."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _images_digest(images: Images) -> str:
    digest = hashlib.sha256(json.dumps([images.shape, images.class_names]).encode())
    for part in images.parts():
        digest.update(part.pixels.numpy().tobytes())
        digest.update(b"" if part.labels is None else part.labels.numpy().tobytes())
    return digest.hexdigest()


def _code_digest() -> str:
    """Changes when the package's code does, in a checkout too, where the version stays."""
    digest, root = hashlib.sha256(), Path(zoovet.__file__).parent
    for path in sorted(root.rglob("*.py")):
        found = path.stat()
        digest.update(f"{path.relative_to(root)} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()
