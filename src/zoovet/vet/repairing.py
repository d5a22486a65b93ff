"""Repairing the networks of a file: refused where the answer would be worth nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Networks
from zoovet.tasks import Repairer
from zoovet.tasks.edit_sizes import EditSize, scale_free_changes
from zoovet.vet.candidates import Candidate
from zoovet.vet.scaling_notes import MAY_BE_THE_REASON
from zoovet.vet.suspects import ReadOptions, load_suspects

__all__ = ["Repaired", "repair_file"]


@dataclass(frozen=True, eq=False)
class Repaired:
    """Networks after their repair.

    Attributes:
        networks: Edited, in the order of the file.
        change: Norm of a network's change over that of its weights, averaged over the networks.
        knows_distribution: Whether the repairer could tell that they are like its training networks.
        scaling_is_assumed: Whether nobody knows their input scaling, so that [-1, 1] was assumed.
        notes: What was assumed, taken or left out when the file was read, one line each.
    """

    networks: Networks
    change: float
    knows_distribution: bool
    scaling_is_assumed: bool
    notes: tuple[str, ...]


def repair_file(
    path: Path,
    candidates: Sequence[Candidate],
    *,
    options: ReadOptions | None = None,
    device: str = "cpu",
    allow_unknown: bool = False,
) -> Repaired:
    """Repair the networks of a file by the candidate that knows them. Writes nothing.

    Args:
        path: What :func:`~zoovet.vet.suspects.load_suspects` reads.
        candidates: Repairers to choose from; one at least.
        options: What is known of the file besides.
        device: Where to compute.
        allow_unknown: Whether networks unlike those that the repairer was trained on are edited too.

    Raises:
        ZoovetError: The file cannot be read, no candidate or several know its networks, a network is unlike those that
            the repairer was trained on, or an edit has NaN or infinite weights or changes more than 99.9 % of edits of
            training networks did (``allow_unknown`` or not).
    """
    suspects = load_suspects(path, candidates, options or ReadOptions(), "repairer")
    networks, repairer = suspects.networks, Repairer.load(suspects.candidate.path, device=device)
    knows = repairer.distribution is not None
    if knows and not allow_unknown:
        _require_known(networks, repairer, path)
    repaired = repairer.repair(networks)
    _require_finite(repaired, path)
    changes = scale_free_changes(networks, repaired)
    notes = suspects.notes
    usual = repairer.edit_sizes.get(networks.graph)
    if usual is None:
        notes += ("this repairer, trained by an earlier zoovet, cannot tell whether an edit is too large",)
    else:
        _require_usual(changes, usual, path)
    return Repaired(repaired, float(changes.mean()), knows, networks.graph.input_scaling is None, notes)


def _require_known(networks: Networks, repairer: Repairer, file: Path) -> None:
    unknown = repairer.out_of_distribution(networks)
    if bool(unknown.any()):
        index = int(unknown.nonzero()[0])
        score = float(repairer.in_distribution(networks[index]))
        why = "" if networks.graph.input_scaling is not None else f"; {MAY_BE_THE_REASON}: give it"
        raise ZoovetError(
            f"{file}: network {index} is unlike the networks that this repairer was trained on (in-distribution score "
            f"{score:.4f}; {int(unknown.sum())} of {len(networks)} are so), so that its edit may do anything; give a "
            f"repairer that was trained on such networks, or --allow-unknown to edit it all the same{why}"
        )


def _require_usual(changes: Tensor, usual: EditSize, file: Path) -> None:
    beyond = changes > usual.limit
    if bool(beyond.any()):
        index = int(changes.argmax())
        raise ZoovetError(
            f"{file}: network {index} would change by {100 * float(changes[index]):.1f} % of its weights' norm "
            f"({int(beyond.sum())} of {len(changes)} edits are too large), and 99.9 % of its training networks by at "
            f"most {100 * usual.limit:.1f} %; nothing was written"
        )


def _require_finite(repaired: Networks, file: Path) -> None:
    damaged = ~repaired.flat().isfinite().all(dim=1)
    if bool(damaged.any()):
        raise ZoovetError(
            f"{file}: the edit of network {int(damaged.nonzero()[0])} has NaN or infinite weights "
            f"({int(damaged.sum())} of {len(repaired)} edits do); nothing was written"
        )
