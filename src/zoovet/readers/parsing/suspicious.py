"""What to say of a pickle that names what weights do not need: malice, a module, another object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoovet.printable import printable
from zoovet.readers.parsing.refusal import EXPORT, Refusal
from zoovet.readers.parsing.values import Global, Instance, Pairs

__all__ = ["refuse_wanted"]

_DANGEROUS_MODULES = frozenset((
    "_io", "_pickle", "_posixsubprocess", "_thread", "_winapi", "aiohttp", "asyncio", "bdb",
    "cProfile", "code", "codecs", "codeop", "commands", "concurrent", "ctypes", "dill", "distutils",
    "doctest", "fileinput", "ftplib", "gc", "http", "idlelib", "imp", "importlib", "inspect", "io", "lib2to3",
    "marshal", "multiprocessing", "nt", "os", "paramiko", "pdb", "pickle", "pip", "pkgutil", "platform",
    "popen2", "posix", "posixpath", "profile", "pty", "pydoc", "requests", "runpy", "setuptools", "shelve",
    "shutil", "signal", "site", "smtplib", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "sys",
    "sysconfig", "tempfile", "timeit", "trace", "urllib", "venv", "webbrowser", "xmlrpc", "zipimport",
))  # fmt: skip
_DANGEROUS_FUNCTIONS = (
    *(f"torch.{name}" for name in ("hub.", "jit.", "load", "ops.", "serialization.load", "utils.cpp_extension.")),
    *(f"numpy.{name}" for name in ("load", "testing.", "f2py.", "lib.")),
)
_DANGEROUS_BUILTINS = frozenset((
    "__import__", "apply", "breakpoint", "compile", "delattr", "eval", "exec", "execfile", "globals", "input", "locals",
    "open", "setattr", "vars",
))  # fmt: skip


def refuse_wanted(wanted: Sequence[Global], root: Any = None) -> Refusal:
    """Why a file is refused that names something unknown.

    Args:
        wanted: What it names, one at least.
        root: What its pickle holds, where it could be read.
    """
    dangerous = [named for named in wanted if _is_dangerous(named)]
    module = next((named for named in wanted if named.module.startswith("torch.nn.")), None)
    if isinstance(root, Instance) and _is_module(root.state):
        module = root.of
    if dangerous:
        return Refusal(
            f"was refused and nothing in it was run: its pickle asks for {_show(dangerous[0])}, "
            "as malicious files do: it may run any code; do not load it"
        )
    if module is not None:
        return Refusal(
            f"was refused and nothing in it was run: it holds a pickled module of class {_show(module)}, and a pickle "
            f"of such may run any code; where you trust it, load it yourself and {EXPORT}"
        )
    first = wanted[0]
    of = {"sklearn": "a scikit-learn object, ", "joblib": "an object by joblib, "}.get(first.module.split(".")[0], "")
    what = "the function" if first.name.rpartition(".")[2].lstrip("_")[:1].islower() else "an object of class"
    return Refusal(
        f"was refused and nothing in it was run: it holds {of}{what} {_show(first)}, and a pickle of such may run any "
        f"code; where you trust it, load it yourself and {EXPORT}"
    )


def _is_dangerous(named: Global) -> bool:
    if named.module == "builtins":
        return named.name in _DANGEROUS_BUILTINS
    return named.module.split(".")[0] in _DANGEROUS_MODULES or named.path.startswith(_DANGEROUS_FUNCTIONS)


def _is_module(state: Any) -> bool:
    """Whether an object's state is that of a ``torch.nn.Module``."""
    keys = {key for key, _ in state.pairs if isinstance(key, str)} if isinstance(state, Pairs) else set()
    return {"_parameters", "_modules"} <= keys


def _show(named: Global) -> str:
    """Its name; of the modules that ``os`` is made of, the one that everybody knows."""
    path = f"os.{named.name}" if named.module in ("posix", "nt") else named.path
    return f"'{printable(path, 64)}'"
