"""Compile a C source with a network's layers as constants, and keep the library.

What is compiled is kept in the user's cache folder (``$XDG_CACHE_HOME/zoovet/native``, by default
``~/.cache/zoovet/native``), under a name that holds the hash of source, constants, compiler and processor, so that a
change of any of them compiles anew.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

__all__ = ["NativeUnavailable", "kept", "load_library", "pointer"]

_FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")


class NativeUnavailable(RuntimeError):
    """Compiled code cannot be had here; the message says why (no compiler, a network that it does not know)."""


def load_library(source: Path, constants: str) -> ctypes.CDLL:
    """The shared library of a C source, compiled where it is not in the cache.

    Args:
        source: The C file; it includes ``CONSTANTS_FILE``, and may include the folder's ``*.h`` files.
        constants: Content of that file.

    Raises:
        NativeUnavailable: There is no C compiler, or it fails.
    """
    return ctypes.CDLL(str(_compiled(source, constants)))


def pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    """The address of an array's numbers.

    Raises:
        ValueError: They do not lie one after another.
    """
    if not array.flags["C_CONTIGUOUS"]:
        raise ValueError("compiled code reads contiguous arrays only; give numpy.ascontiguousarray(...)")
    return ctypes.c_void_p(array.ctypes.data)


def kept(identity: str, suffix: str, make: Callable[[Path], object]) -> Path:
    """The file of what was compiled from ``identity``; made where it is not in the cache.

    Args:
        identity: All that it depends on.
        suffix: Of the file's name.
        make: Writes it to the path that it is called with, in a scratch folder of its own.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoovet" / "native"
    path = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}{suffix}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / f"made{suffix}"
            make(made)
            os.replace(made, path)
    return path


def _compiled(source: Path, constants: str) -> Path:
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NativeUnavailable("no C compiler was found (cc, gcc or clang; or set CC)")

    def make(library: Path) -> None:
        header = library.with_name("constants.h")
        header.write_text(constants)
        _run([compiler, *_FLAGS, f'-DCONSTANTS_FILE="{header}"', str(source), "-o", str(library), "-lm"])

    version = _run([compiler, "--version"]).splitlines()[0]
    sources = [path.read_text() for path in (source, *sorted(source.parent.glob("*.h")))]
    return kept("\n".join([*sources, constants, version, " ".join(_FLAGS), _processor()]), ".so", make)


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NativeUnavailable(f"the C compiler {command[0]} cannot be run: {error}") from error
    if done.returncode:
        raise NativeUnavailable(f"the C compiler {command[0]} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _processor() -> str:
    """What the compiler's ``-march=native`` stands for here: the processor's model and abilities."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
