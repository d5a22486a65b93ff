"""Numbers in a network's own units do not feel what is done to all classes alike."""

from __future__ import annotations

import torch

from zoovet.evidence.own_units import own_units


def test_who_stands_out_does_so_in_any_unit() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0, 100.0]])
    units = own_units(values, 1e-9)
    torch.testing.assert_close(units[0], (values[0] - 3) / 1.4826)
    torch.testing.assert_close(own_units(7 * values - 2, 1e-9), units)
    assert own_units(torch.ones(2, 5, 3), 0.1).abs().max() == 0
