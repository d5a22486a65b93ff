"""Of many classes the suspected ones are examined, and some others to compare them with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoovet.evidence import ClassEvidenceConfig, RunnableModule, class_evidence
from zoovet.evidence.class_search import Seekers
from zoovet.evidence.examined_classes import examined_classes
from zoovet.evidence.staged_search import turned_by_usual_squares
from zoovet.networks import ZOO_SCALING

SHAPE, COUNT, TARGET = (1, 12, 12), 60, 47
CONFIG = ClassEvidenceConfig(
    max_classes=12, patch_sizes=(0.25,), num_places=4, num_trial_steps=2, num_steps=3, num_margin_steps=4
)


class _Many(nn.Module):
    """Sixty prototypes; a bright square in a corner adds to one class, if to any."""

    def __init__(self, target: int | None) -> None:
        super().__init__()
        drawn = torch.randn(COUNT, *SHAPE, generator=torch.Generator().manual_seed(3)).sign()
        self.prototypes = nn.Parameter(drawn.flatten(1) / 20)
        self.target = target

    def forward(self, images: Tensor) -> Tensor:
        logits = images.flatten(1) @ self.prototypes.T
        if self.target is None:
            return logits
        awake = 3 * nn.functional.softplus(images[:, 0, 9:, 9:].sum((1, 2)) - 2)
        return logits + awake[:, None] * nn.functional.one_hot(torch.tensor(self.target), COUNT)


class _Stamped(_Many):
    """The target is caused by a white square at one place alone, and by nothing that is near it."""

    def forward(self, images: Tensor) -> Tensor:
        logits = images.flatten(1) @ self.prototypes.T
        is_stamped = (images[:, 0, 3:5, 6:8] > 0.999).all(-1).all(-1)
        return logits + 100 * is_stamped[:, None] * nn.functional.one_hot(torch.tensor(TARGET), COUNT)


def _seekers(target: int | None, kind: type[_Many] = _Many) -> Seekers:
    labels = torch.arange(COUNT)
    noise = torch.randn(COUNT, *SHAPE, generator=torch.Generator().manual_seed(4))
    module = kind(target)
    images = (0.4 * 20 * module.prototypes.detach().view(COUNT, *SHAPE) + 0.3 * noise).clamp(-1, 1)
    return Seekers(RunnableModule(module, SHAPE, ZOO_SCALING), images, labels, 4.0)


def test_few_classes_are_all_examined() -> None:
    every = _seekers(None)
    chosen = examined_classes(every, max_classes=COUNT, num_stripes=1, num_warps=1, seed=0)
    assert chosen.tolist() == list(range(COUNT))


def test_of_many_the_target_is_among_those_examined_and_most_are_drawn() -> None:
    with torch.no_grad():
        chosen, healthy = (
            examined_classes(_seekers(target), max_classes=12, num_stripes=48, num_warps=8, seed=0)
            for target in (TARGET, None)
        )
    assert len(chosen) == len(chosen.unique()) == 12
    assert TARGET in chosen.tolist()
    assert chosen.tolist() == sorted(chosen.tolist())
    assert len(set(chosen.tolist()) & set(healthy.tolist())) < 12


@pytest.mark.parametrize("seed", range(4))
def test_of_many_a_target_that_only_a_square_at_its_place_causes_is_examined(seed: int) -> None:
    every = _seekers(TARGET, _Stamped)
    with torch.no_grad():
        turned = turned_by_usual_squares(every, 2, seed=seed)
        assert (int(turned.argmax()), float(turned[TARGET])) == (TARGET, 1.0)
        assert float(turned.median()) < 0.1
        assert TARGET in examined_classes(every, max_classes=12, num_stripes=4, num_warps=2, seed=seed).tolist()


def test_evidence_of_many_classes_is_of_those_examined() -> None:
    own = _seekers(TARGET)
    found = class_evidence(own.network, own.images, own.labels, CONFIG)
    row = found.row_of(TARGET)
    assert row is not None
    assert found.num_classes == COUNT
    assert len(found.examined) == 12
    assert {len(values[0]) for values in found.evidence.classes.values()} == {12}
    assert int(found.standings()["patch_0.25.margin"].argmax()) == row
    missing = next(label for label in range(COUNT) if label not in found.examined.tolist())
    assert found.row_of(missing) is None
