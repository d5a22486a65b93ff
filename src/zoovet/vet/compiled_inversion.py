"""Inversion by compiled code: nearly all of a detector's time goes into it."""

from __future__ import annotations

from zoovet.printable import printable
from zoovet.tasks import Detector
from zoovet.tasks.evidence_reader import inversion_of
from zoovet.zoo.compiled_forward import CompiledForward
from zoovet.zoo.native import NativeUnavailable

__all__ = ["compile_inversion"]


def compile_inversion(detector: Detector) -> str | None:
    """Let a detector's inversion, where it has one, run networks by compiled code; its scores stay within 1e-4.

    Args:
        detector: On the processor.

    Returns:
        Why it goes on through PyTorch, several times slower; ``None`` where it does not.
    """
    inversion = inversion_of(detector.metanetwork)
    if inversion is None:
        return None
    try:
        inversion.run_through(CompiledForward(detector.graphs))
    except (NativeUnavailable, OSError) as reason:
        return f"triggers are sought through PyTorch, more slowly than by compiled code: {printable(reason)}"
    return None
