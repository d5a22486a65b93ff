"""Evidence in a view: only what is of parameters turns with them."""

from __future__ import annotations

import torch

from zoovet.evidence import Inversion, InversionConfig
from zoovet.networks import Networks, small_cnn
from zoovet.tasks.augmentation import View
from zoovet.tasks.evidence_views import evidence_in_view


def test_only_gradients_change_with_the_networks() -> None:
    graph = small_cnn("relu", input_shape=(1, 9, 9), channels=(4, 5), num_classes=3)
    flat = torch.randn(2, graph.num_parameters, generator=torch.Generator().manual_seed(3))
    inversion = Inversion(InversionConfig(patch_size=3, images_per_class=4, gradients=True), (1, 9, 9), 3)
    inversion.give_images(torch.rand(3, 4, 1, 9, 9, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    found = inversion(Networks.from_flat(graph, flat))
    view = View(torch.tensor([[True, False], [False, False], [False, True]]), None)
    seen = evidence_in_view(found, graph, view)
    assert seen.classes == found.classes
    for name in ("clean", "patch"):
        before, after = (
            Networks(graph, {parameter: named[name] for parameter, named in own.parameters.items()})
            for own in (found, seen)
        )
        torch.testing.assert_close(after.flat(), view.apply(before).flat(), atol=0, rtol=0)
        assert not torch.equal(after.flat(), before.flat())
