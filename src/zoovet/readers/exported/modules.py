"""From an ``nn.Module`` of any class to a graph and its weights."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram, default_decompositions, export

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.input_shape import require_input_shape
from zoovet.printable import printable
from zoovet.readers.exported.program import NeedsFunctional, UnknownOperation, read_program
from zoovet.readers.exported.values import NUM_IMAGES

__all__ = ["graph_from_module"]

_LOGGERS = ("torch._subclasses.fake_tensor", "torch.fx.experimental.symbolic_shapes")


def graph_from_module(module: nn.Module, input_shape: tuple[int, ...]) -> Networks:
    """Read a module of any class, with a ``forward`` of its own, by tracing it (``torch.export``).

    It is read as it computes in evaluation mode: dropout is left out. Batch norms stay operations of their own
    (:func:`zoovet.networks.fold_batch_norms` folds them). Parameters keep their names; what the module computes from
    them before it looks at an image (normalized weights, tables of positions) is computed now. A softmax at the end
    stays; ``graph.answers`` says so. The module's own code runs, as it does whenever the module is called.

    Args:
        module: The module; its parameters are copied.
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``.

    Returns:
        One network (B = 1) that computes what the module does, with its dtype and device.

    Raises:
        UnknownOperation: The module does something that graphs have no operation for; the message names it and where it
            stands.
        ZoovetError: It cannot be traced: it has no parameters, does not take such images, or decides by what is
            in them.
    """
    input_shape = require_input_shape(input_shape)
    like = next((tensor for tensor in module.parameters() if tensor.is_floating_point()), None)
    if like is None:
        raise ZoovetError("the module has no parameters, so there is no network to read")
    with _in_evaluation_mode(module), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own parts about one another
        program = _exported(module, input_shape, like)
        return _read(program, input_shape, like.dtype)


def _read(program: ExportedProgram, input_shape: tuple[int, ...], dtype: torch.dtype) -> Networks:
    """Read a program, in a simpler form where that is needed."""
    tried: set[str] = set()
    while True:
        try:
            return read_program(program, input_shape, dtype)
        except NeedsFunctional:
            program = program.run_decompositions({})
        except UnknownOperation as error:
            simpler = None if error.operation in tried else _decomposed(program, error.operation)
            if simpler is None:
                raise
            tried.add(error.operation)
            program = simpler


def _exported(module: nn.Module, input_shape: tuple[int, ...], like: Tensor) -> ExportedProgram:
    try:
        images = torch.empty(NUM_IMAGES, *input_shape, dtype=like.dtype, device=like.device)
        with _unlogged():
            return export(module, (images,), strict=False)
    except Exception as error:  # whatever the module's own code raises, or no memory for the images
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        shape = list(input_shape)
        raise ZoovetError(
            f"the module cannot be traced with images of {shape}: {printable(first)}; it must take one batch of "
            "images, and must not decide by what is in them"
        ) from error


def _decomposed(program: ExportedProgram, operation: str) -> ExportedProgram | None:
    """The program with one operation written as simpler ones, where torch knows how."""
    table = {
        overload: how
        for overload, how in default_decompositions().items()
        if str(overload._schema.name).replace("::", ".") == operation
    }
    return program.run_decompositions(table) if table else None


@contextmanager
def _unlogged() -> Iterator[None]:
    """Without what torch logs and prints before it raises what :func:`_exported` says in a line."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    was = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        with redirect_stderr(io.StringIO()):  # the graph as far as it was traced
            yield
    finally:
        for logger, disabled in zip(loggers, was, strict=True):
            logger.disabled = disabled


@contextmanager
def _in_evaluation_mode(module: nn.Module) -> Iterator[None]:
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
