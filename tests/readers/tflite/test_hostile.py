"""Files that were changed to do harm, or hold no float network: each is refused in a line, in little time."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoovet.errors import ZoovetError
from zoovet.readers import content_of_bytes
from zoovet.readers.loaded import GraphData
from zoovet.readers.parsing.refusal import Refusal
from zoovet.readers.parsing.tflite_file import read_tflite_file
from zoovet.readers.tflite import network_of_tflite, read_tflite

from .conftest import Step, Table, Wrote, flatbuffer, model_of

ONES = {"a": np.ones((4, 4), np.float32), "b": np.ones(4, np.float32)}
LAYERS = [Step("FULLY_CONNECTED", ("x", "a", "b"), ("h",)), Step("RELU", ("h",))]
Model = list[Any]
Change = Callable[[Model], None]


def read(data: bytes) -> None:
    graph = content_of_bytes(data, "the file").graph
    assert graph is not None
    graph.read(None, None)


def tensors(model: Model) -> list[Any]:
    found: list[Any] = model[2][0][0]
    return found


def operators(model: Model) -> list[Any]:
    found: list[Any] = model[2][0][3]
    return found


def put(place: Callable[[Model], list[Any]], index: int, value: Any) -> Change:
    """Change one thing of a list."""

    def change(model: Model) -> None:
        place(model)[index] = value

    return change


def test_the_model_itself_is_read(written: Wrote) -> None:
    read(written(LAYERS, ONES, (1, 4)))


DAMAGE: dict[str, tuple[Change, str]] = {
    "version": (put(lambda model: model, 0, ("I", 4)), r"is a TFLite file of version 4; version 3 is read"),
    "graphs": (lambda model: model[2].append(model[2][0]), r"of 2 subgraphs, as control flow, variables and several"),
    "no graph": (put(lambda model: model, 2, []), r"of 0 subgraphs"),
    "no operators": (put(lambda model: model[2][0], 3, []), r"it has 0 operators; 1 to 20,000 are read"),
    "no output": (put(lambda model: model[2][0], 2, ("i", [])), r"it names no output"),
    "far output": (
        put(lambda model: model[2][0], 2, ("i", [77])),
        r"an output names the tensor 77 of 5: it is damaged",
    ),
    "inputs": (
        put(lambda model: model[2][0], 1, ("i", [0, 1])),
        r"it has 2 inputs \('x', 'a'\); a network reads images",
    ),
    "far input": (put(lambda model: model[2][0], 1, ("i", [-1])), r"an input names the tensor -1 of 5"),
    "far tensor": (
        put(lambda model: operators(model)[0], 1, ("i", [0, 99])),
        r"operator FULLY_CONNECTED \(number 0\) names",
    ),
    "makes nothing": (
        put(lambda model: operators(model)[0], 2, ("i", [])),
        r"FULLY_CONNECTED \(number 0\) makes nothing",
    ),
    "cycle": (
        put(lambda model: operators(model)[0], 1, ("i", [4, 1, 2])),
        r"FULLY_CONNECTED \(number 0\) reads 'y', which nothing makes before it, and the file has no numbers of",
    ),
    "made twice": (
        put(lambda model: operators(model)[1], 2, ("i", [3])),
        r"RELU \(number 1\) makes 'h', which is there before it",
    ),
    "makes a weight": (
        put(lambda model: operators(model)[1], 2, ("i", [1])),
        r"RELU \(number 1\) makes 'a', which is there",
    ),
    "no name": (
        put(lambda model: operators(model)[0], 0, ("I", 9)),
        r"is damaged or truncated: an operator in it has no",
    ),
    "other settings": (
        put(lambda model: operators(model)[0], 3, ("B", 5)),
        r"is damaged or truncated: its operator FULLY_CONNECTED has settings of another one",
    ),
    "no buffer": (
        put(lambda model: tensors(model)[1], 2, ("I", 77)),
        r"the tensor 'a' names a buffer that is not there",
    ),
    "fewer numbers": (
        put(lambda model: tensors(model)[1], 0, ("i", [4, 5])),
        r"'a' says \[4, 5\] numbers of float32, 80",
    ),
    "wrapped shape": (
        put(lambda model: tensors(model)[1], 0, ("i", [-4, -4])),
        r"'a' has the shape \[-4, -4\], which none of a network has",
    ),
    "shape of another layer": (
        put(lambda model: tensors(model)[1], 0, ("i", [2, 8])),
        r"FULLY_CONNECTED .*in operator 'h' \(number 0\)",
    ),
    "many axes": (put(lambda model: tensors(model)[1], 0, ("i", [1] * 90)), r"has the tensor 'a' of 90 axes"),
    "long name": (put(lambda model: tensors(model)[1], 3, "a" * 5000), r"has a name of 5,000 bytes; at most 4,096"),
    "odd name": (put(lambda model: tensors(model)[1], 3, "\x1b[2J"), r"its tensor '\\x1b\[2J' is of int8"),
    "sparse": (put(lambda model: tensors(model)[1], 6, Table([])), r"its tensor 'a' is sparse; weights are dense"),
    "text": (put(lambda model: tensors(model)[1], 1, ("b", 5)), r"its tensor 'a' is of text; weights are dense"),
    "type of the future": (
        put(lambda model: tensors(model)[1], 1, ("b", 99)),
        r"its tensor 'a' is of type 99; weights",
    ),
    "elsewhere": (
        lambda model: tensors(model)[1].extend([None, None, ("I", 1)]),
        r"its tensor 'a' lies in another file; weights are dense",
    ),
    "quantized weights": (
        put(lambda model: tensors(model)[1], 1, ("b", 9)),
        r"'a' is of int8: it is quantized; convert",
    ),
    "quantized input": (
        put(lambda model: tensors(model)[0], 1, ("b", 9)),
        r"its input 'x' is of int8: it is quantized",
    ),
    "input of texts": (put(lambda model: tensors(model)[0], 1, ("b", 5)), r"its input 'x' is of text; images are of"),
    "input of no size": (
        put(lambda model: tensors(model)[0], 0, ("i", [1, 0])),
        r"its input 'x' has the shape \[1, 0\]",
    ),
    "input of many axes": (put(lambda model: tensors(model)[0], 0, ("i", [1, 2, 2, 2, 4])), r"its input has 5 axes"),
    "buffer beyond the file": (
        put(lambda model: model[4], 2, [None, ("Q", 2**60), ("Q", 64)]),
        r"is damaged or truncated: a part of it lies beyond its end",
    ),
    "buffer of a great size": (
        put(lambda model: model[4], 2, [None, ("Q", 16), ("Q", 2**63)]),
        r"is damaged or truncated: a part of it lies beyond its end",
    ),
    "NaN": (put(lambda model: model[4], 2, [np.full(16, np.nan, np.float32).tobytes()]), r"its weights"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(damage: str) -> None:
    model = model_of(LAYERS, ONES, (1, 4))
    change, said = DAMAGE[damage]
    change(model)
    if damage == "odd name":
        tensors(model)[1][1] = ("b", 9)
    with pytest.raises(ZoovetError, match=rf"^the file:? .*{said}"):
        read(flatbuffer(model))


UNKNOWN = {
    "FlexErf": "CUSTOM FlexErf is TensorFlow's own (converted with SELECT_TF_OPS); it is not read",
    "Mine\x07": r"CUSTOM Mine\x07 is none of TensorFlow Lite's; it is not read",
    "WHILE": "WHILE decides or repeats while the network runs; graphs know no control flow",
    "CALL_ONCE": "CALL_ONCE decides or repeats",
    "READ_VARIABLE": "READ_VARIABLE keeps weights in variables; freeze them before the network is converted",
    "QUANTIZE": "QUANTIZE is quantized; convert the network without quantization, to float32 or with weights of",
    "DEQUANTIZE": "DEQUANTIZE is quantized",
    "TRANSPOSE_CONV": "TRANSPOSE_CONV is not in the vocabulary of graphs",
    "TOPK_V2": "TOPK_V2 is not in the vocabulary of graphs",
}


@pytest.mark.parametrize("op", UNKNOWN)
def test_operators_that_are_not_read_are_named(written: Wrote, op: str) -> None:
    with pytest.raises(ZoovetError) as caught:
        read(written([Step(op, ("x",))], {}, (1, 4)))
    assert str(caught.value).startswith(f"the file: {UNKNOWN[op]}")
    assert str(caught.value).endswith(", in operator 'y' (number 0)")


def test_operators_without_names_are_told_by_their_number() -> None:
    model = model_of(LAYERS, ONES, (1, 4))
    model[1][1] = [("b", 127), None, None, ("i", 209)]
    with pytest.raises(ZoovetError, match="operator 209 is not in the vocabulary of graphs, in operator 'y'"):
        read(flatbuffer(model))


def test_a_quantized_file_of_tensorflow_is_refused(of_tensorflow: Mapping[str, Any]) -> None:
    with pytest.raises(ZoovetError, match="the file: QUANTIZE is quantized; convert the network without quantization"):
        read(of_tensorflow["small_int8"])


STEPS: dict[str, tuple[list[Step], Mapping[str, Any], str]] = {
    "activation": (
        [Step("ADD", ("x", "b"), settings={"activation": 5})],
        ONES,
        "ADD ends in the activation 5, which is not known",
    ),
    "padding": (
        [Step("MAX_POOL_2D", ("x",), settings={"padding": 7, "filter_width": 1, "filter_height": 1})],
        {},
        "MAX_POOL_2D has an unknown padding",
    ),
    "window": ([Step("MAX_POOL_2D", ("x",))], {}, "MAX_POOL_2D has a window of no size"),
    "kernel": (
        [Step("CONV_2D", ("x", "k"), settings={"stride_width": 1, "stride_height": 1})],
        {"k": np.ones((1, 1, 1, 3), np.float32)},
        r"CONV_2D has weights of \[1, 1, 1, 3\] for 4 channels",
    ),
    "weights by images": (
        [Step("CONV_2D", ("x", "x"))],
        {},
        "CONV_2D computes its input 1; only numbers that stand in",
    ),
    "axis": ([Step("CONCATENATION", ("x", "x"), settings={"axis": 9})], {}, "CONCATENATION names the axis 9 of 4"),
    "images joined": (
        [Step("CONCATENATION", ("x", "x"), settings={"axis": 0})],
        {},
        "CONCATENATION .*images",
    ),
    "entry": (
        [Step("STRIDED_SLICE", ("x", "c", "c", "c"), settings={"begin_mask": 2, "shrink_axis_mask": 2})],
        {"c": np.int32([1, 1])},
        "STRIDED_SLICE takes one entry of an axis, and leaves open which",
    ),
    "parts": ([Step("SPLIT", ("c", "x"), ("y", "z", "u"))], {"c": np.int32(3)}, "SPLIT splits 4 entries into 3 equal"),
    "many repeats": (
        [Step("TILE", ("x", "c"))],
        {"c": np.int32([1, 9000, 9000, 1])},
        r"TILE repeats values \[1, 9000, 9000, 1\] times; 64 times in all is known",
    ),
    "great constant": (
        [Step("BROADCAST_TO", ("b", "c"), ("h",)), Step("ADD", ("x", "h"))],
        {**ONES, "c": np.int32([30000, 30000, 4])},
        "BROADCAST_TO would bring the constants to be computed to more than 134217728 numbers",
    ),
    "dealt": (
        [Step("SPACE_TO_BATCH_ND", ("x", "two", "pads"), ("h",)), Step("RELU", ("h",))],
        {"two": np.int32([2, 7]), "pads": np.zeros((2, 2), np.int32)},
        "RELU stands between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND; a convolution alone is known there",
    ),
    "dealt to the end": (
        [Step("SPACE_TO_BATCH_ND", ("x", "two", "pads"))],
        {"two": np.int32([2, 7]), "pads": np.zeros((2, 2), np.int32)},
        r"its output 'y' has images dealt to several",
    ),
    "images mixed": (
        [Step("RESHAPE", ("x", "c"))],
        {"c": np.int32([3, -1])},
        "its output 'y' does not have the images along its first axis",
    ),
    "great size": (
        [Step("RESIZE_BILINEAR", ("x", "c"))],
        {"c": np.int32([2**30, 2**30])},
        "RESIZE_BILINEAR resizes to or",
    ),
    "no answer": ([Step("ABS", ("b",))], ONES, "its output 'y' does not depend on its input"),
    "outputs": ([Step("RELU", ("x",), ("y", "z"))], {}, "RELU makes 1 tensors, and says 2"),
    "other weights": (
        [Step("FULLY_CONNECTED", ("x", "a"), settings={"weights_format": 1})],
        ONES,
        "FULLY_CONNECTED has its weights in another order than by rows",
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_steps_that_make_no_sense_are_refused(written: Wrote, step: str) -> None:
    steps, constants, said = STEPS[step]
    with pytest.raises(ZoovetError, match=rf"^the file: {said}"):
        read(written(steps, constants))


def test_weights_that_are_read_in_many_ways_take_no_memory(written: Wrote) -> None:
    """One tensor of 4 MB, flattened from maps of each shape there is."""
    steps, constants = [], {"w": np.ones((8, 2**17), np.float32)}
    for index, height in enumerate(2**power for power in range(8)):
        steps.append(Step("RESHAPE", ("x", f"s{index}"), (f"m{index}",)))
        steps.append(Step("MAX_POOL_2D", (f"m{index}",), (f"p{index}",), _POOL))
        steps.append(Step("RESHAPE", (f"p{index}", "flat"), (f"f{index}",)))
        steps.append(Step("FULLY_CONNECTED", (f"f{index}", "w"), (f"l{index}",)))
        constants[f"s{index}"] = np.int32([1, height, 2**9 // height, 2**8])
    steps.append(Step("ADD_N", tuple(f"l{index}" for index in range(8))))
    with pytest.raises(ZoovetError, match="and those before it read weights in more ways than networks do"):
        read(written(steps, {**constants, "flat": np.int32([1, -1])}, (1, 2**17)))


_POOL = dict.fromkeys(("filter_width", "filter_height", "stride_width", "stride_height"), 1)


def test_tensors_that_share_a_great_buffer_are_refused() -> None:
    model = model_of(LAYERS, {**ONES, "great": np.ones(2**16, np.float32)}, (1, 4))
    model[2][0][0] += [model[2][0][0][3]] * 6
    with pytest.raises(ZoovetError, match="has tensors that share their numbers many times over"):
        read(flatbuffer(model))


@pytest.mark.parametrize("count", [2**31, 2**20, 40_000])
def test_lists_that_say_to_be_long_are_not_believed(count: int) -> None:
    """Of tensors, of which a list may lead to one a million times."""
    model = model_of(LAYERS, ONES, (1, 4))
    data = bytearray(flatbuffer(model))
    place = data.index(struct.pack("<I", 5), 8)  # of five tensors
    struct.pack_into("<I", data, place, count)
    data += struct.pack("<I", 2**32 - 2**16) * 2 * min(count, 2**20)
    with pytest.raises(
        ZoovetError, match=r"the file (is damaged or truncated: |has more than 500,000 parts|has 40,000 tensors)"
    ):
        read(bytes(data))


def test_tables_that_hold_themselves_end() -> None:
    """Offsets that lead back, or nowhere."""
    data = flatbuffer(model_of(LAYERS, ONES, (1, 4)))
    for place in range(0, len(data) - 3, 4):
        for offset in (0, 4, 2**31, 2**32 - place):
            changed = bytearray(data)
            struct.pack_into("<I", changed, place, offset % 2**32)
            _require_read_or_refused(bytes(changed))


@pytest.mark.parametrize("name", ["chain_float16", "tokens_fixed"])
def test_changed_bytes_break_nothing(of_tensorflow: Mapping[str, Any], name: str) -> None:
    """Cut off anywhere, or with a few bytes drawn anew."""
    data, rng = of_tensorflow[name], np.random.default_rng(0)
    for _ in range(150):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            changed[place] = rng.integers(256)
        _require_read_or_refused(bytes(changed))
        _require_read_or_refused(data[: rng.integers(8, len(data))])


def _require_read_or_refused(data: bytes) -> None:
    """What the reading process says of a file, and what follows from that."""
    try:
        described = read_tflite_file(io.BytesIO(data), len(data)).description["tflite"]
        graph = GraphData(format_name="TFLite", description=described, file=bytearray(data), blob=memoryview(b""))
        network_of_tflite(graph, source="the file")
        said = ""
    except (Refusal, ZoovetError) as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 700


def test_a_file_of_another_kind_is_no_tflite_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL2" + bytes(64))
    with pytest.raises(ZoovetError, match=r"a\.tflite is not a weight file: it begins with 1c 00 00 00"):
        read_tflite(path)
