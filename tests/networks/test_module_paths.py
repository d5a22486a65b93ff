from __future__ import annotations

import pytest
from torch import nn

from zoovet.networks.module_paths import made_parent


def test_what_is_missing_on_the_way_is_made() -> None:
    module = nn.Module()
    parent, last = made_parent(module, "a.b.weight")
    assert (module.get_submodule("a.b"), "weight") == (parent, last)
    assert made_parent(module, "a.b.bias")[0] is parent
    assert made_parent(module, "bias") == (module, "bias")


def test_names_that_no_module_can_have() -> None:
    for name in ("forward.weight", ".weight"):
        with pytest.raises((AttributeError, KeyError)):
            made_parent(nn.Module(), name)
