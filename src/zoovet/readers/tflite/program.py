"""Walking through a TensorFlow Lite file: its operators are read as operations of ONNX, which a graph is written of."""

from __future__ import annotations

from collections import Counter

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import INPUT
from zoovet.printable import printable
from zoovet.readers.exported.file_errors import MALFORMED
from zoovet.readers.exported.program import UnknownOperation
from zoovet.readers.exported.values import Unreadable
from zoovet.readers.loaded import GraphData
from zoovet.readers.onnx.calls import FileValues
from zoovet.readers.onnx.program import answering, images_read
from zoovet.readers.outputs import chosen_output, needed
from zoovet.readers.parsing.kinds import said_in_parentheses
from zoovet.readers.tflite.calls import TO_MAP, Held, OperatorCall, Walk
from zoovet.readers.tflite.elementwise import ELEMENTWISE_OPERATORS, activated
from zoovet.readers.tflite.layers import LAYER_OPERATORS
from zoovet.readers.tflite.layout import LAYOUT_OPERATORS
from zoovet.readers.tflite.model import NOT_QUANTIZED, Model, Operator

__all__ = ["read_program"]

_READERS = {**ELEMENTWISE_OPERATORS, **LAYER_OPERATORS, **LAYOUT_OPERATORS}
_CONTROL_FLOW = ("CALL", "CALL_ONCE", "IF", "WHILE")
_STATE = ("ASSIGN_VARIABLE", "READ_VARIABLE", "VAR_HANDLE")
_OF_DEALT = ("CONV_2D", "DEPTHWISE_CONV_2D", "BATCH_TO_SPACE_ND")
_OPSET = 20
_MAX_REASON = 300


def read_program(
    data: GraphData, model: Model, input_shape: tuple[int, ...] | None, output: int | None
) -> tuple[Networks, tuple[str, ...]]:
    """The graph and the weights of a file.

    Args:
        data: It.
        model: What it says.
        input_shape: Of an image, channels first, where the file leaves sizes open.
        output: Which of several outputs, from 0.

    Returns:
        One network (B = 1), and notes.

    Raises:
        UnknownOperation: There is an operator beyond the vocabulary; the message names it and what it makes.
        ZoovetError: The input's shape is open or none of images, or it is not clear what the file answers.
    """
    names = [model.tensors[number].name for number in model.outputs]
    answer = model.outputs[chosen_output(len(names), output, names)]
    sizes = model.input_sizes
    writer, images, notes = images_read(sizes, input_shape)
    operators = needed(model.operators, answer)
    num_reads = Counter(number for operator in operators for number in operator.inputs) + Counter([answer])
    num_readers = Counter[str]()
    values = FileValues(writer, _OPSET, sizes[0], num_readers)
    walk = Walk(data, model.tensors, values, {})
    if len(sizes) == 4 and images.site != INPUT:
        walk.held[model.input] = Held(walk.keep(images.permuted(INPUT, TO_MAP)), is_map=True)
    else:
        walk.held[model.input] = Held(walk.keep(images))
    for operator in operators:
        for number, held in zip(operator.outputs, _read(OperatorCall(operator, walk)), strict=True):
            walk.held[number] = held
            num_readers[held.name] += num_reads[number]
    return answering(values, _answer(model, answer, walk), model.tensors[answer].shown), (*notes, *walk.notes)


def _answer(model: Model, number: int, walk: Walk) -> str:
    """The name of the output as it lies in the file; a map of one place channels first."""
    held, shape = walk.hold(number), walk.shape(walk.hold(number).name)
    last = Operator(
        name="output", settings={}, inputs=(number,), outputs=(number,), index=-1, makes=model.tensors[number].name
    )
    call = OperatorCall(last, walk)
    if held.dealt is not None:
        raise ZoovetError(f"its output '{model.tensors[number].shown}' has images dealt to several (SPACE_TO_BATCH_ND)")
    is_one_place = len(shape) == 4 and shape[2:] == (1, 1) and held.is_map
    return held.name if is_one_place else call.plain()


def _read(call: OperatorCall) -> list[Held]:
    """An operator's outputs.

    Raises:
        UnknownOperation: It cannot be said in the vocabulary.
    """
    operator = call.operator
    _require_known(call)
    try:
        result = _READERS[operator.name](call)
        results = result if isinstance(result, list) else [activated(call, result)]
    except UnknownOperation as error:
        raise operator.unknown(error.why) from None
    except Unreadable as error:
        raise operator.unknown(printable(str(error), _MAX_REASON)) from None
    except ZoovetError:  # of a tensor, which it names
        raise
    except MALFORMED as error:
        raise operator.unknown(f"does not fit{said_in_parentheses(error)}") from None
    if len(results) != len(operator.outputs):
        raise operator.unknown(f"makes {len(results)} tensors, and says {len(operator.outputs)}")
    return results


def _require_known(call: OperatorCall) -> None:
    operator = call.operator
    name = operator.name
    dtypes = [call.walk.tensors[number].dtype for number in operator.inputs if number is not None]
    if name in ("QUANTIZE", "FAKE_QUANT") or (name == "DEQUANTIZE" and dtypes != ["float16"]):
        raise operator.unknown(NOT_QUANTIZED)
    is_dealt = any(call.walk.held[number].dealt for number in operator.inputs if number in call.walk.held)
    if is_dealt and name not in _OF_DEALT:
        raise operator.unknown(
            "stands between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND; a convolution alone is known there"
        )
    if name in _READERS:
        return
    if name.startswith("CUSTOM Flex"):
        why = "is TensorFlow's own (converted with SELECT_TF_OPS); it is not read"
    elif name.startswith("CUSTOM"):
        why = "is none of TensorFlow Lite's; it is not read"
    elif name in _CONTROL_FLOW:
        why = "decides or repeats while the network runs; graphs know no control flow"
    elif name in _STATE:
        why = "keeps weights in variables; freeze them before the network is converted"
    else:
        why = "is not in the vocabulary of graphs"
    raise operator.unknown(why)
