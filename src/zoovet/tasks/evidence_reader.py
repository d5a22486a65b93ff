"""A metanetwork and what finds out the evidence that it reads, as one module that is saved and loaded as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from zoovet.evidence import Evidence, Inversion
from zoovet.metanets import Ensemble
from zoovet.metanets.ensemble import outputs_of_members
from zoovet.networks import Networks

__all__ = ["EvidenceReader", "inversion_of", "member_outputs"]

_METANETWORK, _INVERSION = "metanetwork.", "inversion."


class EvidenceReader(nn.Module):
    """Networks in, a metanetwork's answer out: evidence is found out on the way unless it is given.

    In checkpoints the metanetwork's tensors have its own names, and the inversion's images stand beside them (an
    ensemble's beside those of its first member), as they did when evidence was a part of the metanetwork.

    Args:
        metanetwork: From networks and their evidence to anything.
        inversion: What finds the evidence out; nothing in it is learned.
    """

    def __init__(self, metanetwork: nn.Module, inversion: Inversion) -> None:
        super().__init__()
        self.metanetwork = metanetwork
        self.inversion = inversion
        self.register_state_dict_post_hook(_to_stored_names)  # type: ignore[no-untyped-call]  # torch's
        self.register_load_state_dict_pre_hook(_from_stored_names)  # type: ignore[no-untyped-call]  # torch's

    def evidence(self, networks: Networks | Sequence[Networks]) -> list[Evidence]:
        """Evidence of each of the ``Networks``.

        Raises:
            ZoovetError: As from :class:`~zoovet.evidence.Inversion`.
        """
        batches = [networks] if isinstance(networks, Networks) else list(networks)
        return [self.inversion(batch) for batch in batches]

    def forward(
        self, networks: Networks | Sequence[Networks], *, evidence: Sequence[Evidence] | None = None, **options: Any
    ) -> Any:
        """What the metanetwork says.

        Args:
            networks: B networks, or batches of several graphs.
            evidence: That of each batch, where it is to be found out once and used often.
            options: Further arguments of the metanetwork's call.
        """
        found = self.evidence(networks) if evidence is None else evidence
        return self.metanetwork(networks, evidence=found, **options)


def inversion_of(metanetwork: nn.Module) -> Inversion | None:
    """What finds out the evidence that a metanetwork reads; ``None`` where it reads weights alone."""
    return metanetwork.inversion if isinstance(metanetwork, EvidenceReader) else None


def member_outputs(
    metanetwork: nn.Module, networks: Sequence[Networks], evidence: Sequence[Evidence] | None = None
) -> Tensor:
    """What each member of a metanetwork says, by which each is trained: [members, B, outputs].

    Args:
        metanetwork: From a list of networks to [B, outputs].
        networks: Batches of networks.
        evidence: Of each batch; found out where it is read and not given.
    """
    if not isinstance(metanetwork, EvidenceReader):
        return outputs_of_members(metanetwork, networks)
    found = metanetwork.evidence(networks) if evidence is None else evidence
    return outputs_of_members(metanetwork.metanetwork, networks, evidence=found)


def _beside(reader: EvidenceReader) -> str:
    """Where the inversion's images stand among the metanetwork's tensors."""
    return "members.0." if isinstance(reader.metanetwork, Ensemble) else ""


def _to_stored_names(reader: nn.Module, tensors: dict[str, Any], prefix: str, _metadata: Any) -> None:
    assert isinstance(reader, EvidenceReader)
    for name in [name for name in tensors if name.startswith(prefix)]:
        own = name.removeprefix(prefix)
        if own.startswith(_METANETWORK):
            tensors[prefix + own.removeprefix(_METANETWORK)] = tensors.pop(name)
        elif own.startswith(_INVERSION):
            tensors[prefix + _beside(reader) + own] = tensors.pop(name)


def _from_stored_names(reader: nn.Module, tensors: dict[str, Any], prefix: str, *_: Any) -> None:
    assert isinstance(reader, EvidenceReader)
    images = prefix + _beside(reader) + _INVERSION
    for name in [name for name in tensors if name.startswith(prefix)]:
        own = f"{prefix}{_INVERSION}{name.removeprefix(images)}" if name.startswith(images) else None
        tensors[own or prefix + _METANETWORK + name.removeprefix(prefix)] = tensors.pop(name)
