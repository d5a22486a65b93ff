"""Repairer: networks in, healed networks out; refused where the answer would be worth nothing.

A network whose graph a repairer was trained on is healed by that one, from its weights alone; any other by unlearning
the triggers that are found on reference images.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.healing import HealingConfig
from zoovet.images import Images
from zoovet.networks import Networks
from zoovet.printable import printable
from zoovet.readers import read_content
from zoovet.tasks import TrainedRepairer
from zoovet.tasks.edit_sizes import EditSize, scale_free_changes
from zoovet.vet.candidates import Candidate, chosen_candidates
from zoovet.vet.healed_files import (
    HealedFile,
    in_one_file,
    require_same_ending,
    require_writable_format,
    writable_names,
)
from zoovet.vet.healed_network import HealedNetwork
from zoovet.vet.known_graphs import KnownNetwork
from zoovet.vet.network import Network
from zoovet.vet.reading import network_from_content
from zoovet.vet.recognition import fitted, known_to, unknown_in_words, warn_of_assumed_scaling
from zoovet.vet.scaling_notes import MAY_BE_THE_REASON
from zoovet.vet.stranger_healer import StrangerHealer
from zoovet.vet.stranger_reader import StrangerReader, shipped_stranger_reader
from zoovet.vet.strangers import Strangers, require_effort
from zoovet.vet.suspects import NobodyKnows, ReadOptions, Suspects, load_suspects

__all__ = ["RepairedFile", "Repairer"]

_THE_ONE = "the network given"
_CANNOT_TELL_SIZE = "this repairer, trained by an earlier zoovet, cannot tell whether an edit is too large"
_CANNOT_TELL_LIKENESS = (
    "this repairer, trained by an earlier zoovet, cannot tell whether networks are like those that it was trained on; "
    "train it again"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class RepairedFile:
    """The networks of a file after their repair.

    Attributes:
        suspects: The file as it was read.
        parts: The networks edited, as the file's parts.
        change: Norm of a network's change over that of its weights, averaged over the networks.
        notes: What was assumed, taken or left out when the file was read, one line each.
        general_notes: What holds of the repairer, whatever it edits.
    """

    suspects: Suspects
    parts: tuple[Networks, ...]
    change: float
    notes: tuple[str, ...]
    general_notes: tuple[str, ...]

    @property
    def num_networks(self) -> int:
        """Networks in the file."""
        return sum(map(len, self.parts))

    @property
    def scaling_is_assumed(self) -> bool:
        """Whether nobody knows the input scaling of one of the networks, so that [-1, 1] was assumed."""
        return any(part.graph.input_scaling is None for part in self.parts)


class Repairer:
    """Heals networks: each by the repairer that knows its graph, others by unlearning triggers on a few images.

    Args:
        repairer: A run's folder or its checkpoint file, or candidates to choose from; the shipped models' where left
            out.
        model: The only shipped model to look at, by its name.
        device: Where to compute.
        allow_unknown: Whether networks unlike those that the repairer was trained on are edited by it too.
        strangers: The detector for networks that no repairer knows. Where left out, the one that comes with the
            package, unless a repairer or a model is given: these are refused then.
        effort: How much is sought in these: ``quick``, ``normal`` or ``thorough``.
        false_alarms: Share of healthy ones among these that may be taken for trojaned.
        healing: How these are healed, and what it may cost.
        force: Whether those of them that are not found to be trojaned are edited too.

    Raises:
        ZoovetError: There is no such run, model or effort, or a number is out of its range.
    """

    def __init__(
        self,
        repairer: str | Path | Sequence[Candidate] | None = None,
        *,
        model: str | None = None,
        device: str = "cpu",
        allow_unknown: bool = False,
        strangers: StrangerReader | None = None,
        effort: str = "normal",
        false_alarms: float = 0.01,
        healing: HealingConfig | None = None,
        force: bool = False,
    ) -> None:
        require_effort(effort, false_alarms)
        if strangers is None and repairer is None and model is None:
            strangers = shipped_stranger_reader()
        self._healer = None
        if strangers is not None:
            judge = Strangers(reader=strangers, effort=effort, false_alarms=false_alarms)
            self._healer = StrangerHealer(strangers=judge, config=healing or HealingConfig(), force=force)
        self._candidates = chosen_candidates("repairer", repairer, model)
        self._device, self._allow_unknown = device, allow_unknown
        self._opened: dict[Path, TrainedRepairer] = {}

    def repair(
        self, network: Network, images: Images | None = None, *, progress: Callable[[str], None] | None = None
    ) -> HealedNetwork:
        """Edit a network's weights so that its trojan stops working, whatever its trigger is.

        Args:
            network: From :func:`zoovet.read` or :func:`zoovet.from_module`; left as it is.
            images: Reference images: a few of each class, of the kind that the network reads. A network that no
                repairer was trained on is healed on them, or on images that it makes itself where there are none, which
                is worth less, and tells nothing of its accuracy on real ones. Where nobody knows the input scaling and
                they have labels, it is found on them. A repairer that knows the network takes [-1, 1] where it stays
                unknown, with a ``UserWarning``.
            progress: Told what is done next to a network that no repairer was trained on.

        Returns:
            The healed network, on the CPU and in the precision of the one given, its graph the same but for biases that
            a layer without one may get. One that no repairer was trained on is as it was where it is healthy, and
            its ``healing`` says what was done and whether it counts as healed.

        Raises:
            ZoovetError: No repairer knows the network, or it is unlike those that the repairer was trained on (unless
                ``allow_unknown``), and there are too few reference images, or their labels contradict it, or nothing
                can be told of it; its edit has NaN or infinite weights, or changes more than 99.9 % of edits of
                training networks did; the images do not fit; or a weight is NaN or infinite.
        """
        network = fitted(network, images, "repair")
        found = known_to(network, self._candidates, "repairer")
        if found is None or (images is not None and self._is_stranger(found[0].networks, found[1])):
            return self._unlearned(network, images, progress or _tell_nobody)
        known, candidate = found
        edited, changes = self._edited(candidate, known.networks, lambda _: _THE_ONE, "allow_unknown=True")
        warn_of_assumed_scaling(network)
        return _healed(known, edited, float(changes), candidate.model, self._said_of(candidate, known.networks))

    def _is_stranger(self, networks: Networks, candidate: Candidate) -> bool:
        """Whether networks of a graph that a repairer knows are unlike all that it was trained on, and to be healed."""
        repairer = self._of(candidate)
        if self._healer is None or repairer.distribution is None or self._allow_unknown:
            return False
        return bool(repairer.out_of_distribution(networks).any())

    def _unlearned(
        self,
        network: Network,
        images: Images | None,
        progress: Callable[[str], None],
        only: Container[str] | None = None,
    ) -> HealedNetwork:
        if self._healer is None:
            raise ZoovetError(unknown_in_words(network, self._candidates, "repairer"))
        healed, healing = self._healer.healed(network, images, progress, only)
        size = 0.0 if healing.edit is None else healing.edit.change
        same = {field.name: getattr(healed, field.name) for field in fields(Network)}
        return HealedNetwork(**same, change=size, model=None, healing=healing)

    def repair_file(
        self,
        path: Path,
        options: ReadOptions | None = None,
        *,
        out: Path | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> RepairedFile | HealedFile:
        """Repair the networks of a file. Writes nothing.

        Args:
            path: What :func:`~zoovet.vet.suspects.load_suspects` reads.
            options: What is known of the file besides.
            out: Where the result is to be written, if it is; whether that can be is looked at first.
            progress: As in :meth:`repair`.

        Returns:
            Of a file whose network no repairer was trained on, what :meth:`repair` makes of it.

        Raises:
            ZoovetError: The file cannot be read or is of a format that is not written, or as :meth:`repair`.
        """
        options = options or ReadOptions()
        try:
            try:
                suspects = load_suspects(path, self._candidates, options, "repairer")
                network = self._stranger_in(suspects, path, options)
                if network is None:
                    return self._repaired(path, suspects)
            except NobodyKnows as error:
                if self._healer is None:
                    raise
                network = _only_one(error.networks)
            content = in_one_file(read_content(path), path)
            require_writable_format(content, printable(path))
            if out is not None:
                require_same_ending(path, out)
            network = fitted(network, options.images, "repair")
            only = writable_names(network, content)
            healed = self._unlearned(network, options.images, progress or _tell_nobody, only)
            return HealedFile(before=network, healed=healed, content=content)
        except ZoovetError as error:
            text = str(error)
            raise ZoovetError(text if str(path) in text else f"{printable(path)}: {text}") from error

    def _stranger_in(self, suspects: Suspects, path: Path, options: ReadOptions) -> Network | None:
        """The one network of a file that a repairer knows by its graph only, where images allow to unlearn."""
        is_one = options.images is not None and suspects.num_networks == 1
        if not is_one or not self._is_stranger(suspects.parts[0], suspects.candidate):
            return None
        try:
            return network_from_content(
                suspects.content,
                printable(path),
                options.architecture,
                options.scaling,
                options.images,
                options.input_shape,
                options.output,
            )
        except ZoovetError:
            return None

    def _repaired(self, path: Path, suspects: Suspects) -> RepairedFile:
        candidate, parts, changes, start = suspects.candidate, list[Networks](), list[Tensor](), 0
        for part in suspects.parts:
            edited, change = self._edited(candidate, part, partial(_numbered, path, start), "--allow-unknown")
            start += len(part)
            parts.append(edited)
            changes.append(change)
        notes = dict.fromkeys(note for part in suspects.parts for note in self._said_of(candidate, part))
        return RepairedFile(
            suspects=suspects,
            parts=tuple(parts),
            change=float(torch.cat(changes).mean()),
            notes=(*suspects.notes, *(note for note in notes if note != _CANNOT_TELL_LIKENESS)),
            general_notes=tuple(note for note in notes if note == _CANNOT_TELL_LIKENESS),
        )

    def _edited(
        self, candidate: Candidate, networks: Networks, named: Callable[[int], str], permission: str
    ) -> tuple[Networks, Tensor]:
        """Edited networks, and the relative change [B] of each; ``named`` says what one is called in messages."""
        repairer = self._of(candidate)
        if repairer.distribution is not None and not self._allow_unknown:
            _require_known(networks, repairer, named, permission)
        edited = repairer.repair(networks)
        changes, usual = scale_free_changes(networks, edited), repairer.edit_sizes.get(networks.graph)
        if usual is not None:
            _require_usual(changes, usual, named)
        return edited, changes

    def _said_of(self, candidate: Candidate, networks: Networks) -> tuple[str, ...]:
        repairer = self._of(candidate)
        size = () if networks.graph in repairer.edit_sizes else (_CANNOT_TELL_SIZE,)
        return size if repairer.distribution is not None else (*size, _CANNOT_TELL_LIKENESS)

    def _of(self, candidate: Candidate) -> TrainedRepairer:
        if candidate.path not in self._opened:
            self._opened[candidate.path] = TrainedRepairer.load(candidate.path, device=self._device)
        return self._opened[candidate.path]


def _only_one(networks: Sequence[Network]) -> Network:
    if len(networks) != 1:
        raise ZoovetError(f"it holds {len(networks)} networks that no repairer knows; one at a time can be healed")
    return networks[0]


def _tell_nobody(_: str) -> None:
    """Tell nobody what is done next."""


def _healed(
    known: KnownNetwork, edited: Networks, change: float, model: str | None, notes: tuple[str, ...]
) -> HealedNetwork:
    own = known.original
    same = {field.name: getattr(own, field.name) for field in fields(Network)}
    said = (*own.notes, f"repaired: the weights changed by {100 * change:.1f} % of their norm", *notes)
    other = {"networks": known.with_weights(edited), "unfolded": None, "notes": said}
    return HealedNetwork(**{**same, **other}, change=change, model=model)


def _numbered(path: Path, start: int, index: int) -> str:
    """What a network of a file is called: that of a part which begins with the network ``start``."""
    return f"{path}: network {start + index}"


def _require_known(networks: Networks, repairer: TrainedRepairer, named: Callable[[int], str], permission: str) -> None:
    unknown = repairer.out_of_distribution(networks)
    if bool(unknown.any()):
        index = int(unknown.nonzero()[0])
        score = float(repairer.in_distribution(networks[index]))
        why = "" if networks.graph.input_scaling is not None else f"; {MAY_BE_THE_REASON}: give it"
        raise ZoovetError(
            f"{named(index)} is unlike the networks that this repairer was trained on "
            f"(in-distribution score {score:.4f}; {int(unknown.sum())} of {len(networks)} are so), so that its edit "
            f"may do anything; give a repairer that was trained on such networks, or {permission} to edit it all the "
            f"same{why}"
        )


def _require_usual(changes: Tensor, usual: EditSize, named: Callable[[int], str]) -> None:
    beyond = changes > usual.limit
    if bool(beyond.any()):
        index = int(changes.argmax())
        raise ZoovetError(
            f"{named(index)} would change by {100 * float(changes[index]):.1f} % of its weights' "
            f"norm ({int(beyond.sum())} of {len(changes)} edits are too large), and 99.9 % of its training networks by "
            f"at most {100 * usual.limit:.1f} %; such an edit is refused"
        )
