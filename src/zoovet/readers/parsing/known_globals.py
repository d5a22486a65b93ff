"""What pickles of weight files name: functions and classes whose results are known without calling them.

A file is read if it names nothing else. What is listed as *inert* is no more than remembered by name.
"""

from __future__ import annotations

import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from typing import Any

from zoovet.readers.parsing.dtypes import ITEM_BYTES, STORAGES
from zoovet.readers.parsing.kinds import kind_in_words
from zoovet.readers.parsing.refusal import Refusal
from zoovet.readers.parsing.tensor_records import TENSOR_CALLS, TENSOR_CLASSES
from zoovet.readers.parsing.values import Array, DType, Global, Instance, Pairs

__all__ = ["Known", "modern_name"]

_MAX_WANTED = 1000
_DICTIONARIES = frozenset((
    "builtins.dict",
    "collections.Counter",
    "collections.OrderedDict",
    "collections.defaultdict",
    "addict.addict.Dict",
    "easydict.EasyDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "munch.Munch",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "yacs.config.CfgNode",
))  # fmt: skip
_LISTS = frozenset(("builtins.list", "builtins.tuple", "builtins.set", "builtins.frozenset", "torch.Size"))
_INERT = frozenset((
    *(f"builtins.{name}" for name in ("bool", "float", "int", "object", "range", "slice", "str", "NoneType")),
    *(f"numpy.random._pickle.__{made}_ctor" for made in ("bit_generator", "generator", "randomstate")),
    *(f"numpy.random.{name}" for name in ("_mt19937.MT19937", "_pcg64.PCG64", "_philox.Philox", "_sfc64.SFC64")),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(f"numpy.{name}" for name in ("ndarray", "bool", "bool_", "half", "single", "double", "str_", "bytes_")),
    *(f"numpy.{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)),
    *(f"numpy.{kind}" for kind in ("complex64", "complex128", "longlong", "intc", "intp", "longdouble", "generic")),
    *(f"omegaconf.{name}" for name in ("dictconfig.DictConfig", "listconfig.ListConfig", "base.ContainerMetadata")),
    *(f"omegaconf.{name}" for name in ("base.Metadata", "base.SCMode", "nodes.AnyNode", "nodes.StringNode")),
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Integer", "Float", "Boolean", "Bytes", "Path")),
    *(f"pathlib.{pure}{kind}Path" for pure in ("", "Pure") for kind in ("", "Posix", "Windows")),
    *(f"torch.{name}" for name in ("strided", "sparse_coo", "sparse_csr", "device", "_C.Generator", "Generator")),
    *(
        f"{place}.{layout}_format"
        for place in ("torch", "torch._utils.torch")
        for layout in ("contiguous", "preserve")
    ),
    *(f"{place}.channels_last{more}" for place in ("torch", "torch._utils.torch") for more in ("", "_3d")),
    *(f"torch.per_{part}_{kind}" for part in ("tensor", "channel") for kind in ("affine", "symmetric")),
    "argparse.Namespace",
    "builtins.Ellipsis",
    "collections.deque",
    "decimal.Decimal",
    "fractions.Fraction",
    "functools.partial",
    "logging.getLogger",
    "torch._dynamo.decorators._DimRange",
    "torch.per_channel_affine_float_qparams",
    "torch.serialization._get_layout",
    "torch.storage.TypedStorage",
    "torch.torch_version.TorchVersion",
    "types.SimpleNamespace",
    "typing.Any",
    "uuid.UUID",
))  # fmt: skip


def modern_name(module: str, name: str) -> tuple[str, str]:
    """A module's name of today, where Python 2, an earlier NumPy or a later pathlib wrote the pickle."""
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    if module.startswith("numpy.core."):
        module = f"numpy._core.{module.removeprefix('numpy.core.')}"
    return "pathlib" if module == "pathlib._local" else sys.intern(module), name


class Known:
    """Looks names up and says what calls of them give.

    Attributes:
        wanted: What a pickle named and is not known, in its order.
    """

    def __init__(self) -> None:
        self.wanted: list[Global] = []
        self._encoded: dict[int, tuple[str, bytes]] = {}
        self._calls: dict[str, Callable[..., Any]] = {
            **TENSOR_CALLS,
            "_codecs.encode": self._encode,
            "builtins.bytearray": _bytearray,
            "builtins.bytes": _bytearray,
            "builtins.complex": complex,
            "copyreg._reconstructor": _reconstructor,
            "numpy.dtype": _dtype,
            "numpy._core.multiarray._reconstruct": lambda *_: Array(),
            "numpy._core.multiarray.scalar": lambda dtype, raw=b"": Array(_is_dtype(dtype), None, raw=raw),
            "numpy._core.numeric._frombuffer": _frombuffer,
            "torch._tensor._rebuild_from_type_v2": self._from_type,
        }

    def look_up(self, named: Global) -> Global:
        """The same, noted as wanted where it is not known."""
        path = named.path
        known = path in self._calls or path in _DICTIONARIES or path in _LISTS or path in _INERT
        known = known or path in TENSOR_CLASSES or named.module == "numpy.dtypes" or _is_of_torch(named)
        if not known and len(self.wanted) < _MAX_WANTED:
            self.wanted.append(named)
        return named

    def call(self, callee: Any, arguments: Any) -> Any:
        """What a call would give, as a record.

        Raises:
            TypeError: The pickle calls something else than what it named, or without a tuple of arguments.
            Refusal: The call is one that weight files do not need.
        """
        if not isinstance(callee, Global) or not isinstance(arguments, tuple):
            raise TypeError("something is called that is no function")
        path = callee.path
        if path in self._calls:
            return self._calls[path](*arguments)
        if path in _DICTIONARIES:
            return _dictionary(path, arguments)
        if path in _LISTS and len(arguments) <= 1:
            return arguments[0] if arguments and isinstance(arguments[0], list | tuple) else list(arguments)
        return Instance(callee, arguments)

    def set_dtype(self, dtype: DType, state: Any) -> None:
        """Give NumPy's dtype the state that its pickle has: byte order, fields."""
        if state[3] is not None or state[2] is not None:
            dtype.code = "V"
        dtype.order = str(state[1])

    def set_array(self, array: Array, state: Any) -> None:
        """Give NumPy's array the state that its pickle has: version, shape, dtype, order, numbers."""
        _, shape, dtype, fortran, array.raw = state
        array.shape, array.dtype, array.fortran = tuple(shape), _is_dtype(dtype), bool(fortran)

    def _encode(self, text: str, encoding: str = "utf-8") -> bytes:
        """Bytes as Python 3 writes them for Python 2: a text in Latin-1. Each text is encoded once."""
        if str(encoding).lower() not in ("latin1", "latin-1"):
            raise Refusal("has a pickle that asks to encode a text, which weight files do not need")
        kept, encoded = self._encoded.get(id(text), (None, b""))
        if kept is not text:
            encoded = text.encode("latin-1")
            self._encoded[id(text)] = (text, encoded)  # the text is kept, so that no other one takes its id
        return encoded

    def _from_type(self, function: Any, _type: Any, arguments: Any, _state: Any = None) -> Any:
        return self.call(function, arguments)


def _is_of_torch(named: Global) -> bool:
    """Whether it is one of torch's storages or dtypes."""
    if named.module in ("torch", "torch.storage", "torch.cuda") and named.name in STORAGES:
        return True
    return named.module == "torch" and named.name in ITEM_BYTES


def _dictionary(path: str, arguments: tuple[Any, ...]) -> Pairs:
    """A dictionary of pairs, which share the list that they are made of: nothing is copied."""
    if path == "collections.defaultdict":
        arguments = arguments[1:]
    given = arguments[0] if arguments else []
    if isinstance(given, Pairs):
        return Pairs(given.pairs)
    if not isinstance(given, list):
        raise TypeError(f"a dictionary is made of {kind_in_words(given)}")
    return Pairs(given)


def _bytearray(value: Any = b"", encoding: str = "latin-1") -> Any:
    if isinstance(value, bytes | bytearray):
        return value
    if isinstance(value, str) and encoding in ("latin-1", "latin1"):
        return value
    raise Refusal("has a pickle that asks for a byte array by its size, which weight files do not need")


def _reconstructor(of: Any, _base: Any = None, _state: Any = None) -> Any:
    if not isinstance(of, Global):
        raise TypeError("an object is made of something that is no class")
    return Pairs() if of.path in _DICTIONARIES else Instance(of)


def _dtype(code: Any, *_: Any) -> DType:
    if isinstance(code, Global):
        return DType(code.name)
    if not isinstance(code, str) or len(code) > 20:
        raise TypeError("a NumPy dtype is not named by a short text")
    return DType(code)


def _is_dtype(value: Any) -> DType:
    if not isinstance(value, DType):
        raise TypeError("a NumPy array has no dtype")
    return value


def _frombuffer(raw: Any, dtype: Any, shape: Any, order: str = "C", *_: Any) -> Array:
    return Array(_is_dtype(dtype), tuple(shape), fortran=order == "F", raw=raw)
