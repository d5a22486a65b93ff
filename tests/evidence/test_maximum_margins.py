"""The maximum margin is climbed to from noise, and says which class has a shortcut."""

from __future__ import annotations

from collections.abc import Callable

import torch

from zoovet.evidence import RunnableModule
from zoovet.evidence.maximum_margins import maximum_margins


def test_a_class_with_a_shortcut_has_the_largest(stamped: Callable[[int | None], RunnableModule]) -> None:
    healthy, trojaned = (maximum_margins(stamped(target), torch.arange(8), 2, 8, 0) for target in (None, 5))
    assert healthy.shape == (8, 9)
    assert bool((trojaned.diff(dim=1) >= 0).all())
    assert int(trojaned[:, -1].argmax()) == 5
    assert float(trojaned[5, -1]) > 1.5 * float(healthy[:, -1].max())
    again = maximum_margins(stamped(5), torch.arange(8), 2, 8, 0)
    assert torch.equal(again, trojaned)
