"""Weight files of a repository on the Hugging Face hub, by ``huggingface_hub`` and its cache. No telemetry."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.fetching.addresses import require_safe
from zoovet.fetching.folders import named_together
from zoovet.fetching.hints import CONFIG, PREPROCESSOR, hint_for, hint_of_config
from zoovet.fetching.weight_files import (
    MAX_BYTES,
    PREFERENCES,
    Gathered,
    Skipped,
    WeightFile,
    parts_of,
    preference,
    split_by_name,
)
from zoovet.printable import printable
from zoovet.text_files import in_words

__all__ = ["HubAddress", "in_hub"]

_ADDRESS = re.compile(
    r"hf://(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)(?:@(?P<revision>[^/\s]+))?(?:/(?P<file>.+))?", re.ASCII
)
_MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class HubAddress:
    """What ``hf://OWNER/NAME[@REVISION][/FILE]`` says.

    Attributes:
        repository: ``OWNER/NAME``.
        revision: A branch, a tag or a commit; ``None`` for the main branch.
        file: One file of it, or a folder; ``None`` for all.
    """

    repository: str
    revision: str | None
    file: str | None

    @classmethod
    def parse(cls, text: str) -> HubAddress:
        """Read an address.

        Raises:
            ZoovetError: It is none.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise ZoovetError(f"{printable(text)} must be hf://OWNER/NAME, hf://OWNER/NAME@REVISION or …/FILE")
        file = None if match["file"] is None else match["file"].strip("/")
        return cls(repository=f"{match['owner']}/{match['name']}", revision=match["revision"], file=file or None)

    def of(self, file: str) -> str:
        """The address of one file."""
        at = "" if self.revision is None else f"@{self.revision}"
        return f"hf://{self.repository}{at}/{file}"


def in_hub(text: str, *, offline: bool) -> Gathered:
    """The weight files of a repository, fetched into the hub's cache, each compared with the digest it is kept by.

    Safetensors and ONNX files; where there are none, other files that say their network; where there are none either,
    pickles (``.bin``, ``.pt``, …). Any file is taken that is asked for by name. No code in them is run.

    Args:
        text: See :class:`HubAddress`.
        offline: Whether only what is in the cache already is taken.

    Raises:
        ZoovetError: ``huggingface_hub`` is not installed, the repository or revision is none, gated or not in the
            cache, or a file is damaged.
    """
    address = HubAddress.parse(text)
    hub = _hub()
    with _errors_in_words(text, offline):
        repository = _Offline(hub, address) if offline or _setting("HF_HUB_OFFLINE") else _Online(hub, address)
        return _gathered(repository, address, text)


def _gathered(repository: _Offline | _Online, address: HubAddress, text: str) -> Gathered:
    names = sorted(repository.sizes)
    if address.file is not None:
        names = [name for name in names if name == address.file or name.startswith(f"{address.file}/")]
        if not names:
            raise ZoovetError(f"{printable(text)}: the repository has no such file")
    taken, skipped = split_by_name(names)
    if address.file in names and address.file not in taken:
        taken = [address.file]
    skipped += _less_preferred(taken, address)
    skipped += [
        Skipped(name=name, reason=f"it is larger than the {in_words(MAX_BYTES)} that are fetched")
        for name in taken
        if repository.sizes[name] > MAX_BYTES
    ]
    left_out = {one.name for one in skipped}
    taken = [name for name in taken if name not in left_out]
    if not taken:
        raise ZoovetError(f"{printable(text)} holds no weight file that is read, of {len(names):,} files")
    config, preprocessor = (
        repository.fetch(name) if 0 < repository.sizes.get(name, 0) <= _MAX_CONFIG_BYTES else None
        for name in (CONFIG, PREPROCESSOR)
    )
    hint = None if config is None else hint_of_config(config, preprocessor)
    for part in parts_of(taken, skipped):
        repository.fetch(part)
    files = [
        WeightFile(path=repository.fetch(name), name=address.of(name), hint=hint_for(name, hint)) for name in taken
    ]
    said = [Skipped(name=address.of(one.name), reason=one.reason) for one in skipped]
    return Gathered(files=tuple(files), skipped=tuple(named_together(text, said)))


def _less_preferred(names: Sequence[str], address: HubAddress) -> list[Skipped]:
    """What is most likely the same network once more, in a form that is read less safely or less surely."""
    if address.file is not None or not names:
        return []
    best = min(map(preference, names))
    reason = "there are {}; give its whole address to have it scanned"
    return [Skipped(name=name, reason=reason.format(PREFERENCES[best])) for name in names if preference(name) > best]


class _Online:
    """A repository as the hub has it.

    Attributes:
        sizes: Of its files, in bytes, by their names.
    """

    def __init__(self, hub: Any, address: HubAddress) -> None:
        endpoint = _setting("ENDPOINT")
        require_safe(endpoint)
        self._api, self._repository = hub.HfApi(endpoint, library_name="zoovet"), address.repository
        info = self._api.model_info(address.repository, revision=address.revision, files_metadata=True)
        self._revision, self._commit = address.revision, info.sha
        self.sizes: dict[str, int] = {one.rfilename: one.size or 0 for one in info.siblings or ()}

    def fetch(self, name: str) -> Path:
        """A file's path in the cache."""
        path = Path(self._api.hf_hub_download(self._repository, name, revision=self._revision))  # notes the revision
        if self._commit not in path.parts:
            raise ZoovetError(f"the repository {self._repository} changed while it was fetched; try again")
        return _whole(path)


class _Offline:
    """A repository as far as it is in the cache.

    Attributes:
        sizes: Of its files, in bytes, by their names.
    """

    def __init__(self, hub: Any, address: HubAddress) -> None:
        self._folder = Path(hub.snapshot_download(address.repository, revision=address.revision, local_files_only=True))
        files = (path for path in self._folder.rglob("*") if path.is_file())
        self.sizes = {path.relative_to(self._folder).as_posix(): path.stat().st_size for path in files}

    def fetch(self, name: str) -> Path:
        """A file's path in the cache."""
        return _whole(self._folder / name)


def _whole(path: Path) -> Path:
    """The path, after its content was compared with the digest that the cache keeps it by.

    Raises:
        ZoovetError: They differ.
    """
    expected = path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", expected):
        digest = hashlib.sha256()
    elif re.fullmatch(r"[0-9a-f]{40}", expected):
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        raise ZoovetError(f"{printable(path)} has no digest to be compared with; links do not work in the hub's cache")
    with path.open("rb") as file:
        hashlib.file_digest(file, lambda: digest)
    if digest.hexdigest() != expected:
        raise ZoovetError(f"{printable(path)} is not what the hub says it is: remove {printable(path.resolve())}")
    return path


def _hub() -> Any:
    """The library, with its telemetry off.

    Raises:
        ZoovetError: It is not installed.
    """
    if find_spec("huggingface_hub") is None:
        raise ZoovetError("hf:// addresses need the package huggingface_hub: pip install 'zoovet[hub]'")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the library is imported
    settings: Any = import_module("huggingface_hub.constants")
    settings.HF_HUB_DISABLE_TELEMETRY = True  # where something imported it before
    told: Any = import_module("huggingface_hub.utils")
    told.disable_progress_bars()
    told.logging.set_verbosity_error()  # what goes wrong is one line of ours
    return import_module("huggingface_hub")


def _setting(name: str) -> Any:
    """One of the library's, as the environment says it."""
    return getattr(import_module("huggingface_hub.constants"), name)


@contextmanager
def _errors_in_words(text: str, offline: bool) -> Iterator[None]:
    """What the library raises, in one line."""
    errors = import_module("huggingface_hub.errors")
    shown = printable(text)
    try:
        yield
    except ZoovetError:
        raise
    except errors.GatedRepoError as error:
        raise ZoovetError(f"{shown} is gated: accept its terms on its page, and log in with `hf auth login`") from error
    except errors.RevisionNotFoundError as error:
        raise ZoovetError(f"{shown}: the repository has no such revision") from error
    except errors.RepositoryNotFoundError as error:
        raise ZoovetError(
            f"{shown}: there is no such repository, or it is private: log in with `hf auth login`"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        if offline or _setting("HF_HUB_OFFLINE"):
            raise ZoovetError(f"{shown} is not in the hub's cache, and nothing is fetched offline") from error
        raise ZoovetError(f"{shown} cannot be reached, and is not in the hub's cache") from error
    except Exception as error:  # of the library, of what it sends by, of the disk
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ZoovetError(f"{shown} cannot be fetched: {printable(said[0], 400)}") from error
