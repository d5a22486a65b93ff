"""Files that torch.jit.save writes of a module, as they are and changed."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

Entries = dict[str, bytes]


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Write a module: ``script``, ``trace`` or ``freeze``; what it answers is asked of the module itself."""

    def save(module: nn.Module, images: Tensor | None = None, name: str = "a.pt", *, freeze: bool = False) -> Path:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's own, that torch.jit is deprecated
            written = torch.jit.script(module) if images is None else torch.jit.trace(module, images, check_trace=False)
            torch.jit.save(torch.jit.freeze(written) if freeze else written, tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def changed() -> Callable[[Path, Callable[[Entries], None]], Path]:
    """Write a file's entries again, without the folder that they are in, after they were changed."""

    def change(path: Path, how: Callable[[Entries], None]) -> Path:
        with zipfile.ZipFile(path) as file:
            folder = file.namelist()[0].partition("/")[0]
            entries = {name.removeprefix(f"{folder}/"): file.read(name) for name in file.namelist()}
        how(entries)
        with zipfile.ZipFile(path, "w") as file:
            for name, data in entries.items():
                file.writestr(f"{folder}/{name}", data)
        return path

    return change
