"""Writing the networks of a file after their repair: in its format, names and layout, with other numbers."""

from __future__ import annotations

from pathlib import Path

import torch

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, fold_batch_norms
from zoovet.printable import printable
from zoovet.readers import read_content, save_networks, says_its_graph
from zoovet.readers.loaded import GraphData
from zoovet.readers.renumbering import renumbered_graph_file
from zoovet.readers.rewriting import LayoutError, NewNumbers, changed_tensors, require_tensors, rewrite, rounding
from zoovet.vet.endings import end_alike
from zoovet.vet.healed_files import GRAPH_FILES, in_one_file
from zoovet.vet.known_graphs import KnownNetwork
from zoovet.vet.repairer import RepairedFile
from zoovet.vet.suspects import Suspects

__all__ = ["require_output_name", "write_repaired"]

_OWN = ".safetensors"
_NOT_WRITTEN = ".pt2"
_IN_OWN = f"--out NAME{_OWN} writes the network in zoovet's own format"
_IN_PYTHON = "zoovet.load_networks and zoovet.save_networks bring it into zoovet's own format: repair that file"


def require_output_name(path: Path, out: Path) -> None:
    """Check that a file's repaired networks can be written under a name.

    Raises:
        ZoovetError: It ends neither as files of its format do nor in ``.safetensors``.
    """
    if not end_alike(path, out) and out.suffix.lower() != _OWN:
        own = path.suffix.lower()
        is_written = own not in ("", _OWN, _NOT_WRITTEN)
        either = f"in {own}, the format of the input, or where a repairer knows the network " if is_written else ""
        raise ZoovetError(f"--out {printable(out)}: give a name that ends {either}in {_OWN}")


def write_repaired(repaired: RepairedFile, path: Path, out: Path) -> tuple[str, ...]:
    """Write a file's networks after their repair; the new file is there whole or not at all.

    Args:
        repaired: What a repairer made of the file.
        path: The file.
        out: Ends as files of its format do, which keeps that, names and layout; or in ``.safetensors``, for zoovet's
            own.

    Returns:
        What is to be said of it.

    Raises:
        ZoovetError: The file's layout cannot be kept, or the new one cannot be written.
    """
    suspects, content = repaired.suspects, repaired.suspects.content
    keeps = end_alike(path, out)
    if keeps and not says_its_graph(content):
        own = path.suffix.lower()
        try:
            _write_in_layout(suspects, repaired.parts[0], path, out)
        except LayoutError as error:
            raise ZoovetError(f"{error}; {_IN_PYTHON if own == _OWN else _IN_OWN}") from error
        return ()
    known = {part.graph.input_scaling for part in repaired.parts}
    scaling = known.pop() if len(known) == 1 else None
    save_networks(Networks.concatenate([part.with_scaling(scaling) for part in repaired.parts]), out)
    return () if keeps else ("written in zoovet's own format, as --out ends in another way than the input",)


def _write_in_layout(suspects: Suspects, edited: Networks, path: Path, out: Path) -> None:
    source, content = printable(path), suspects.content
    if content.graph is None:
        changed = changed_tensors(content, suspects.parts[0], edited, source)
        rewrite(
            path, changed, out, lambda written: require_tensors(read_content(written).tensors, content, changed, source)
        )
        return
    if content.graph.format_name not in GRAPH_FILES or suspects.known is None:
        raise LayoutError(f"{source}: repaired networks are not written as {content.graph.format_name}")
    known = suspects.known
    wanted = fold_batch_norms(known.with_weights(edited))

    whole = in_one_file(content, path).graph
    assert whole is not None
    changed = _changed(whole.data, known, edited, source)
    tolerance = rounding(changed)

    def require_edited(written: Path) -> None:
        file = read_content(written).graph
        own = known.original
        found = None if file is None else fold_batch_norms(file.read(own.input_shape, own.output).networks)
        if found is None or not torch.allclose(found.flat(), wanted.flat(), rtol=tolerance, atol=tolerance * 1e-3):
            raise LayoutError(f"{source}: with other numbers it reads as another network, as where tensors are shared")

    rewrite(path, changed, out, require_edited, whole.data.file)


def _changed(data: GraphData, known: KnownNetwork, edited: Networks, source: str) -> list[NewNumbers]:
    """New numbers for the tensors of a file that says its network."""
    after, original = known.with_weights(edited), known.original
    before = next((one for one in (original.networks, original.unfolded) if one and one.graph == after.graph), None)
    if before is None:
        raise LayoutError(f"{source}: a layer has no bias of its own there, and the repair needs one")
    whole = {name: tensor[0] for name, tensor in before.parameters.items()}
    return renumbered_graph_file(data, whole, {name: after.parameters[name][0] for name in whole}, source)
