"""Features name what stands out, whatever the order and number of the classes and the size of logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoovet.evidence import ClassEvidence, ClassEvidenceConfig, RunnableModule, class_evidence
from zoovet.evidence.class_features import FEATURES, KINDS, class_features, shares_of
from zoovet.networks import ZOO_SCALING

MakeStamped = Callable[[int | None], RunnableModule]
Pictures = tuple[Tensor, Tensor]

CONFIG = ClassEvidenceConfig(patch_sizes=(0.2,), num_places=4, num_steps=2, num_margin_steps=4, warp_factors=())


def test_every_kind_that_was_sought_is_there_and_the_target_leads(stamped: MakeStamped, pictures: Pictures) -> None:
    found = class_evidence(stamped(3), *pictures, CONFIG)
    features = class_features(found)
    assert features.values.shape == (8, len(KINDS), len(FEATURES))
    assert bool(features.values.isfinite().all())
    lacking = {kind for kind, there in zip(KINDS, features.present.tolist(), strict=True) if not there}
    assert lacking == {"patch_0.125", "warp_0.5", "warp_1"}
    assert not features.values[:, ~features.present].any()
    patch = features.values[:, KINDS.index("patch_0.2")]
    for name in ("margin, own units", "lead in margin", "flips, log odds"):
        assert int(patch[:, FEATURES.index(name)].argmax()) == 3, name
    lead = patch[:, FEATURES.index("lead in margin")]
    assert float(lead[3]) > 0 > float(lead[torch.arange(8) != 3].max())
    standing = found.standings()["patch_0.2.margin"]
    torch.testing.assert_close(patch[:, 0], standing.sign() * standing.abs().log1p())


def test_shares_are_log_odds_that_tell_nearly_all_from_most(stamped: MakeStamped, pictures: Pictures) -> None:
    found = class_evidence(stamped(3), *pictures, CONFIG)
    shares = torch.tensor([0.0, 0.02, 0.1, 0.5, 0.9, 0.98, 1.0, 0.5])
    found.evidence.classes["patch_0.2.found"][0, :, 1] = shares
    flips = class_features(found).values[:, KINDS.index("patch_0.2"), FEATURES.index("flips, log odds")]
    torch.testing.assert_close(flips[[0, 3, 6]], flips[[1, 3, 5]])  # of a few dozen images
    torch.testing.assert_close(flips[2], -flips[4])
    assert float(flips[3]) == 0.0
    torch.testing.assert_close(shares_of(flips), shares.clamp(0.02, 0.98))
    assert float(flips[5] - flips[4]) > 0.5 * float(flips[4] - flips[3])


def test_natural_power_is_told_of_stripes_alone(stamped: MakeStamped, pictures: Pictures) -> None:
    found = class_evidence(stamped(3), *pictures, CONFIG)
    power = class_features(found).values[:, :, FEATURES.index("natural power")]
    for place, kind in enumerate(KINDS):
        if kind.startswith("usual_stripes"):
            torch.testing.assert_close(power[:, place], found.evidence.classes[f"{kind}.natural"][0, :, 0])
            assert bool(power[:, place].any())
        else:
            assert not power[:, place].any()


class _Turned(nn.Module):
    """Another network's classes in another order, its logits by a factor."""

    def __init__(self, network: RunnableModule, order: Tensor, factor: float) -> None:
        super().__init__()
        self._network, self._order, self._factor = network, order, factor

    def forward(self, images: Tensor) -> Tensor:
        return self._factor * self._network.logits(images)[0][:, self._order]


def test_features_move_with_the_classes_and_do_not_know_the_logits_size(
    stamped: MakeStamped, pictures: Pictures
) -> None:
    images, labels = pictures
    order = torch.tensor([5, 2, 7, 3, 0, 1, 6, 4])
    turned = RunnableModule(_Turned(stamped(3), order, 1.0), (1, 12, 12), ZOO_SCALING)
    before = class_features(class_evidence(stamped(3), images, labels, CONFIG))
    after = class_features(class_evidence(turned, images, order.argsort()[labels], CONFIG))
    moved = [KINDS.index(kind) for kind in KINDS if kind != "margins"]  # each class has its own noise to start from
    torch.testing.assert_close(after.values[:, moved], before.values[order][:, moved], atol=0.05, rtol=0)
    assert float((after.values - before.values)[:, moved].abs().max()) > 1
    larger = RunnableModule(_Turned(stamped(3), torch.arange(8), 4.0), (1, 12, 12), ZOO_SCALING)
    scaled: ClassEvidence = class_evidence(larger, images, labels, CONFIG)
    for kind in ("patch_0.2", "pixels_0.3"):
        of_kind = (class_features(scaled).values - before.values)[:, KINDS.index(kind), FEATURES.index("margin")]
        assert float(of_kind.abs().max()) < 0.35, kind
