"""Editing of INRs: training a metanetwork to change a SIREN's weights so that its picture comes out edited.

Source: Kalogeropoulos et al. 2024, *Scale Equivariant Graph Metanetworks*, section 6.3, after Zhou et al. 2023,
*Permutation Equivariant Neural Functionals*, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoovet.config import config_to_dict
from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.metanets import LayerUnits
from zoovet.networks import Networks
from zoovet.symmetry import canonicalize
from zoovet.tasks.edited_images import EditName, edited, load_originals, require_sources
from zoovet.tasks.editor import Editor
from zoovet.tasks.inr_editing_config import EditingConfig
from zoovet.tasks.inr_editor import INR_EDITOR, InrEditor
from zoovet.tasks.labelled import LabelledPopulation
from zoovet.tasks.metanetworks import build_in_units, metanetwork_to_json
from zoovet.tasks.network_pool import Batch
from zoovet.tasks.random_streams import IndexStream
from zoovet.tasks.repairer import edited_networks
from zoovet.tasks.run_training import train_run
from zoovet.tasks.runs import open_run, zoo_facts
from zoovet.tasks.training import TaskModule, Validation
from zoovet.tasks.training_config import Progress
from zoovet.zoo import Zoo
from zoovet.zoo.inr_pictures import pictures

__all__ = ["EditingModule", "InrEditor", "TargetImages", "train_inr_editor"]


@dataclass(frozen=True, eq=False)
class TargetImages:
    """What the pictures of some networks should become.

    Attributes:
        images: uint8 [U, C, H, W], the edited source images.
        row_of: int64 [n], which of them each network's is; on the CPU.
    """

    images: Tensor
    row_of: Tensor

    @classmethod
    def of(cls, image_indices: Tensor, images: Images, edit: EditName) -> TargetImages:
        """Edit the images at ``image_indices`` (int64 [n]), each of them once."""
        used, row_of = torch.unique(image_indices, return_inverse=True)
        return cls(edited(images.pixels[used], edit), row_of)

    def at(self, places: Tensor) -> Tensor:
        """Targets of the networks at ``places`` (int64 [B], on the CPU): float32 [B, C, H, W] in [0, 1]."""
        return self.images[self.row_of[places].to(self.images.device)].float() / 255

    def to(self, device: torch.device) -> TargetImages:
        """The same images on another device."""
        return TargetImages(self.images.to(device), self.row_of)


class EditingModule(TaskModule):
    """Mean squared error of the edited networks' pictures against the edited source images.

    Args:
        editor: What edits.
        train, validation: The networks, their phases canonicalized where that is wanted.
        targets: What the pictures of both should become.
        config: How.
    """

    def __init__(
        self,
        editor: Editor,
        train: LabelledPopulation,
        validation: LabelledPopulation,
        targets: tuple[TargetImages, TargetImages],
        config: EditingConfig,
    ) -> None:
        super().__init__(editor, config.training)
        self._task = config
        self._train, self._validation = train, validation
        self._targets, self._validation_targets = targets
        self._nothing: float | None = None
        self._stream = IndexStream(torch.arange(len(train)), groups=None, seed=config.training.seed, purpose="batches")

    def on_fit_start(self) -> None:
        """Put networks and images beside the editor."""
        self._train, self._validation = self._train.to(self.device), self._validation.to(self.device)
        self._targets = self._targets.to(self.device)
        self._validation_targets = self._validation_targets.to(self.device)

    def loss_at(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The batch's mean squared error."""
        size = self.config.batch_size
        batch = self._train.batch(self._stream.take(step * size, size)).of_share(self.share)
        return _squared_errors(self.model(batch.networks).edited, batch, self._targets).mean(), {}

    def validate(self, model: nn.Module) -> Validation:
        """Mean squared error on the validation networks, and that of networks left as they are."""
        batch, size = self._validation.everything(), 2 * self.config.batch_size
        if self._nothing is None:
            self._nothing = self._error(batch.networks, batch)
        error = self._error(edited_networks(model, batch.networks, size), batch)
        figures = {"mse": error, "mse_of_nothing": self._nothing, "share_of_nothing": error / self._nothing}
        if not torch.isfinite(torch.tensor(error)):
            raise ZoovetError("the edited pictures are no longer finite; lower training.learning_rate")
        return Validation(figures, score=(-error,))

    def _error(self, networks: Sequence[Networks], batch: Batch) -> float:
        return float(_squared_errors(networks, batch, self._validation_targets).double().mean())

    def describe(self, validation: Validation) -> dict[str, Any]:
        """What :meth:`InrEditor.load` needs, and the configuration."""
        return {
            "metanetwork": metanetwork_to_json(self._task.metanetwork),
            "layer_units": self._task.layer_units,
            "specs": [graph.to_json() for graph in self._train.graphs],
            "config": config_to_dict(self._task),
        }


def train_inr_editor(
    config: EditingConfig,
    zoo: Zoo,
    images: Images,
    out: Path | str,
    *,
    canonicalized: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> InrEditor:
    """Train an editor on a zoo's training split; validation chooses the checkpoint.

    A network's target is the image that its ``image_index`` says, edited; augmented copies, which show another one, are
    left out. Where ``out`` holds an unfinished run of the
    same configuration and zoo, it is resumed; a finished one is loaded. The test split is not read.

    Args:
        config: How.
        zoo: The zoo of SIRENs, opened.
        images: Training images of the zoo's dataset.
        out: Folder of the run.
        canonicalized: Whether the networks' phases are canonicalized before the metanetwork reads them.
        device: ``cpu``, ``cuda`` or ``cuda:K``.
        progress: Told after every step and validation.

    Raises:
        ZoovetError: Networks that show no known image, or images that do not fit them, a folder that cannot be written
            to or holds another run, a device that is not there, or a loss that is no longer finite.
    """
    train, validation = load_originals(zoo)
    for population in (train, validation):
        require_sources(population, images, zoo)
    config = replace(config, metanetwork=config.metanetwork.with_input_shape(train.graphs))
    facts = {
        "zoo": zoo_facts(zoo.path, train, validation),
        "images": {"name": images.name, "num_images": len(images)},
        "canonicalized": canonicalized,
    }
    run = open_run(out, INR_EDITOR, config, facts)
    if not run.finished:
        targets = tuple(TargetImages.of(some.labels, images, config.edit) for some in (train, validation))
        if canonicalized:
            train, validation = train.mapped(canonicalize), validation.mapped(canonicalize)
        seed = config.training.seed
        metanetwork = build_in_units(config.metanetwork, train.graphs, config.layer_units, seed, INR_EDITOR)
        if isinstance(metanetwork, LayerUnits):
            metanetwork.measure(train.everything().networks)
        editor = Editor(metanetwork)
        module = EditingModule(editor, train, validation, (targets[0], targets[1]), config)
        train_run(run, module, device=device, progress=progress)
    return InrEditor.load(run.folder, device=device)


def _squared_errors(networks: Sequence[Networks], batch: Batch, targets: TargetImages) -> Tensor:
    """Mean squared error of each network's picture: [B], in the batch's order."""
    errors = []
    places = torch.split(batch.indices, [len(some) for some in networks])
    for some, theirs in zip(networks, places, strict=True):
        wanted = targets.at(theirs)
        errors.append((pictures(some, *wanted.shape[2:]) - wanted).square().flatten(1).mean(dim=1))
    return torch.cat(errors)
