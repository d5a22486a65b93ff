"""An editor adds changes, in full or by the gate's say."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoovet.networks import Networks
from zoovet.tasks.editor import Editor


class Ones(nn.Module):
    """Changes every number by one."""

    def forward(self, networks: list[Networks]) -> list[Networks]:
        return [batch.map(torch.ones_like) for batch in networks]


class Logits(nn.Module):
    """A gate with given logits."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, networks: list[Networks]) -> Tensor:
        assert sum(map(len, networks)) == len(self.logits)
        return self.logits[:, None]


def test_without_a_gate_changes_are_added(suspects: list[Networks]) -> None:
    edit = Editor(Ones())(suspects)
    assert edit.gate_logits is None
    for own, edited in zip(suspects, edit.edited, strict=True):
        assert torch.equal(edited.flat(), own.flat() + 1)


def test_a_gate_scales_each_networks_change(suspects: list[Networks]) -> None:
    edit = Editor(Ones(), Logits(-100.0, 0.0, 100.0, 100.0, -100.0))(suspects)
    changes = torch.cat(
        [(edited.flat() - own.flat()).mean(dim=1) for own, edited in zip(suspects, edit.edited, strict=True)]
    )
    torch.testing.assert_close(changes, torch.tensor([0.0, 0.5, 1.0, 1.0, 0.0]), rtol=0, atol=1e-6)
    assert edit.gate_logits is not None
    assert edit.gate_logits.tolist() == [-100.0, 0.0, 100.0, 100.0, -100.0]
