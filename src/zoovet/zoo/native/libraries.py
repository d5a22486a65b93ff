"""Compile a C source with a network's layers as constants, and keep the library.

What is compiled is kept (:mod:`zoovet.zoo.native.compiled_cache`) under a name that holds the hash of source,
constants, compiler, options and processor, so that a change of any of them compiles anew.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from zoovet.printable import printable
from zoovet.zoo.native.compiled_cache import compiled

__all__ = ["NativeUnavailable", "load_library", "pointer"]

_FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_MOST_SECONDS = 300
"""For one call of the compiler; it takes about one."""


class NativeUnavailable(RuntimeError):
    """Compiled code cannot be had here; the message says why (no compiler, a network that it does not know)."""


def load_library(source: Path, constants: str) -> ctypes.CDLL:
    """The shared library of a C source, compiled where it is not in the cache.

    Args:
        source: The C file; it includes ``CONSTANTS_FILE``, and may include the folder's ``*.h`` files.
        constants: Content of that file.

    Raises:
        NativeUnavailable: There is no C compiler, it fails, or what it makes cannot be loaded.
    """
    command = _compiler()

    def make(library: Path) -> None:
        library.with_name("constants.h").write_text(constants, encoding="utf-8")
        given = [f"-iquote{library.parent}", '-DCONSTANTS_FILE="constants.h"', str(source), "-o", str(library), "-lm"]
        _run([*command, *_FLAGS, *given], library.parent)

    where = shutil.which(command[0]) or command[0]
    texts = [path.read_text(encoding="utf-8") for path in (source, *sorted(source.parent.glob("*.h")))]
    used = [os.path.realpath(where), *command, _run([*command, "--version"]), *_FLAGS, _processor()]
    try:
        return compiled("\n".join([*texts, constants, *used]), ".so", make, lambda path: ctypes.CDLL(str(path)))
    except OSError as error:
        raise NativeUnavailable(f"the compiled library cannot be had: {printable(error)}") from error


def pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    """The address of an array's numbers.

    Raises:
        ValueError: They do not lie one after another.
    """
    if not array.flags["C_CONTIGUOUS"]:
        raise ValueError("compiled code reads contiguous arrays only; give numpy.ascontiguousarray(...)")
    return ctypes.c_void_p(array.ctypes.data)


def _compiler() -> list[str]:
    """The C compiler's command: what ``CC`` says, options included, else the first of the usual ones."""
    named = os.environ.get("CC", "").strip()
    if not named:
        found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if found is None:
            raise NativeUnavailable(
                "no C compiler was found (cc, gcc or clang); install one, or name one by the environment variable CC"
            )
        return [found]
    try:
        words = [named] if shutil.which(named) else shlex.split(named)
    except ValueError as error:
        raise NativeUnavailable(f"the environment variable CC is no command ({error}): {printable(named)}") from None
    return [os.path.abspath(shutil.which(words[0]) or words[0]) if os.sep in words[0] else words[0], *words[1:]]


def _run(command: list[str], folder: Path | None = None) -> str:
    """What the compiler prints."""
    named = f"the C compiler {printable(command[0])}"
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            check=False,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder)} if folder else None,
            timeout=_MOST_SECONDS,
        )
    except OSError as error:
        raise NativeUnavailable(
            f"{named} cannot be run: {error.strerror or error}; install one, or name another by CC"
        ) from error
    except subprocess.TimeoutExpired:
        raise NativeUnavailable(f"{named} was not done after {_MOST_SECONDS} seconds") from None
    if done.returncode:
        said = [printable(line) for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        raise NativeUnavailable(f"{named} failed ({how}): {'; '.join(said[:3]) or 'it did not say why'}")
    return done.stdout


def _processor() -> str:
    """What the compiler's ``-march=native`` stands for here: the processor's model and abilities."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
