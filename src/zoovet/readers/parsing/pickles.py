"""Reading a pickle without making anything of it: a machine for its operations that builds plain records.

Python's own unpickler calls what a pickle names. This one calls nothing: functions and classes become records of
their names, calls become records of what would be called, unless :mod:`.known_globals` knows what comes out. Every
operation takes time and memory in proportion to its bytes: tuples are shared and never hashed, dictionaries are lists
of pairs, nothing is multiplied. ``pickletools`` of the standard library cuts the bytes into operations.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import IO, Any

from zoovet.printable import printable
from zoovet.readers.parsing.kinds import kind_in_words
from zoovet.readers.parsing.known_globals import Known, modern_name
from zoovet.readers.parsing.refusal import DAMAGED, Refusal
from zoovet.readers.parsing.values import Array, DType, Global, Instance, Pairs, StoredTensor

__all__ = ["PickleMachine"]

_LITERALS = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING", "BINSTRING", "SHORT_BINSTRING",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE",
    "BINUNICODE8", "FLOAT", "BINFLOAT",
))  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_IGNORED = frozenset(("PROTO", "FRAME", "READONLY_BUFFER"))


class PickleMachine:
    """Reads one pickle.

    Args:
        known: What is known by name.
        persistent: What an id of something outside of the pickle stands for.
    """

    def __init__(self, known: Known, persistent: Callable[[Any], Any]) -> None:
        self.known = known
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def read(self, stream: IO[bytes]) -> Any:
        """What the pickle at the stream's place holds.

        Raises:
            Refusal: The pickle is damaged. What it names is in ``known.wanted`` all the same, as far as it was read.
        """
        try:
            return self._run(stream)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise Refusal(f"{DAMAGED}: its pickle cannot be read ({printable(error, 100)}); get it anew") from error

    def _run(self, stream: IO[bytes]) -> Any:
        operations = {name.removeprefix("_op_"): getattr(self, name) for name in dir(self) if name.startswith("_op_")}
        for opcode, argument, _ in pickletools.genops(stream):
            name = opcode.name
            if name in _LITERALS:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name == "STOP":
                break
            elif name in operations:
                operations[name](argument)
            elif name not in _IGNORED:
                raise Refusal(f"has a pickle with the operation {name}, which weight files do not need")
        return self.stack.pop()

    def _to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    # What is put onto the stack, taken from it, remembered --------------------------------------------------------

    def _op_MARK(self, _: object) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def _op_POP(self, _: object) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._to_mark()

    def _op_POP_MARK(self, _: object) -> None:
        self._to_mark()

    def _op_DUP(self, _: object) -> None:
        self.stack.append(self.stack[-1])

    def _op_PUT(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    _op_BINPUT = _op_LONG_BINPUT = _op_PUT

    def _op_MEMOIZE(self, _: object) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _op_GET(self, place: int) -> None:
        self.stack.append(self.memo[place])

    _op_BINGET = _op_LONG_BINGET = _op_GET

    # Containers ---------------------------------------------------------------------------------------------------

    def _op_EMPTY_LIST(self, _: object) -> None:
        self.stack.append([])

    _op_EMPTY_SET = _op_EMPTY_LIST

    def _op_EMPTY_DICT(self, _: object) -> None:
        self.stack.append(Pairs())

    def _op_LIST(self, _: object) -> None:
        items = self._to_mark()
        self.stack.append(items)

    _op_FROZENSET = _op_LIST

    def _op_TUPLE(self, _: object) -> None:
        items = self._to_mark()
        self.stack.append(tuple(items))

    def _op_TUPLE1(self, _: object) -> None:
        self.stack[-1] = (self.stack[-1],)

    def _op_TUPLE2(self, _: object) -> None:
        second = self.stack.pop()
        self.stack[-1] = (self.stack[-1], second)

    def _op_TUPLE3(self, _: object) -> None:
        third, second = self.stack.pop(), self.stack.pop()
        self.stack[-1] = (self.stack[-1], second, third)

    def _op_DICT(self, _: object) -> None:
        items = self._to_mark()
        self.stack.append(Pairs())
        self._set(items)

    def _op_APPEND(self, _: object) -> None:
        item = self.stack.pop()
        self._add([item])

    def _op_APPENDS(self, _: object) -> None:
        self._add(self._to_mark())

    _op_ADDITEMS = _op_APPENDS

    def _op_SETITEM(self, _: object) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _op_SETITEMS(self, _: object) -> None:
        self._set(self._to_mark())

    def _add(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Instance):
            target = target.items
        if not isinstance(target, list):
            raise TypeError(f"items are added to {kind_in_words(target)}")
        target.extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, Pairs | Instance):
            raise TypeError(f"entries are set in {kind_in_words(target)}")
        target.pairs.extend(zip(items[::2], items[1::2], strict=True))

    # Names and calls: nothing is imported, nothing called ---------------------------------------------------------

    def _op_GLOBAL(self, both: str) -> None:
        module, _, name = both.partition(" ")
        self.stack.append(self.known.look_up(Global(*modern_name(module, name))))

    def _op_STACK_GLOBAL(self, _: object) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError("a function or class is not named by a text")
        self.stack.append(self.known.look_up(Global(*modern_name(module, name))))

    def _op_REDUCE(self, _: object) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.known.call(self.stack[-1], arguments)

    _op_NEWOBJ = _op_REDUCE

    def _op_NEWOBJ_EX(self, _: object) -> None:
        self.stack.pop()  # named arguments
        self._op_REDUCE(None)

    def _op_INST(self, both: str) -> None:
        arguments = self._to_mark()
        self._op_GLOBAL(both)
        self.stack[-1] = self.known.call(self.stack[-1], tuple(arguments))

    def _op_OBJ(self, _: object) -> None:
        of, *arguments = self._to_mark()
        self.stack.append(self.known.call(of, tuple(arguments)))

    def _op_BUILD(self, _: object) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Instance):
            target.state = state
        elif isinstance(target, DType):
            self.known.set_dtype(target, state)
        elif isinstance(target, Array):
            self.known.set_array(target, state)
        elif not isinstance(target, Pairs | StoredTensor):  # theirs are hooks and notes
            raise TypeError(f"a state is given to {kind_in_words(target)}")

    def _op_PERSID(self, persistent_id: object) -> None:
        self.stack.append(self.persistent(persistent_id))

    def _op_BINPERSID(self, _: object) -> None:
        self.stack.append(self.persistent(self.stack.pop()))
