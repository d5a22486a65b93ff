"""Networks of other precisions than float32 are judged and healed like others, and stay in theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from zoovet import Images, Network, Repairer
from zoovet.healing import HealingConfig, UnlearningConfig


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_network_of_another_precision_is_healed_in_it(
    stranger_reader: Any, stamped_as: Callable[[torch.dtype], Network], pictures: Images, dtype: torch.dtype
) -> None:
    network = stamped_as(dtype)
    config = HealingConfig(unlearning=UnlearningConfig(rate=0.1, num_rounds=1, num_steps=40), num_attempts=1)
    healed = Repairer(strangers=stranger_reader, effort="quick", healing=config).repair(network, pictures)
    assert healed.healing is not None
    assert (healed.healing.before.verdict, healed.healing.targets) == ("trojaned", (3,))
    pixels = pictures.pixels.clone()
    pixels[:, 0, 9:, 9:] = (255 * (1 - torch.arange(9).reshape(3, 3) % 2)).to(torch.uint8)
    others = replace(pictures, pixels=pixels)[pictures.required_labels != 3]
    assert float((network.predict(others) == 3).float().mean()) == 1
    assert float((healed.predict(others) == 3).float().mean()) < 0.3
    assert float((healed.predict(pictures) == pictures.required_labels).float().mean()) > 0.9
    if network.networks is not None:
        assert healed.networks is not None
        assert healed.networks.dtype == network.networks.dtype == dtype
    else:
        assert healed.module is not None
        assert {one.dtype for one in healed.module.parameters()} == {dtype}
