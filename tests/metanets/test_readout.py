from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zoovet.metanets import ScaleGMN, ScaleGMNConfig
from zoovet.networks.batch import Networks
from zoovet.networks.chains import mlp
from zoovet.symmetry import random_networks

READOUTS: dict[str, dict[str, Any]] = {
    "full_graph": {},
    "last_layer": {"readout": "last_layer", "direction": "bidirectional"},
    "last_layer_forward": {"readout": "last_layer"},
    "pooled_outputs": {"readout": "pooled_outputs"},
    "deep_sets": {"symmetry": "permutation"},
}


def near_copies(num_networks: int = 12) -> Networks:
    """Networks that differ from one another by a thousandth of their weights."""
    generator = torch.Generator().manual_seed(0)
    networks = random_networks(mlp((3, 8, 8, 4), "tanh"), num_networks, generator)
    return networks.map(lambda tensor: tensor[:1] + 1e-3 * tensor)


def model_of(**options: Any) -> ScaleGMN:
    config = ScaleGMNConfig(**({"width": 8, "num_layers": 2, "num_outputs": 3, "direction": "forward"} | options))
    return ScaleGMN(config, torch.Generator().manual_seed(1)).double()


def spread(outputs: Tensor) -> float:
    """Deviation over the networks as a share of the outputs' size."""
    return (outputs.std(dim=0).mean() / outputs.square().mean().sqrt()).item()


@pytest.mark.parametrize("options", READOUTS.values(), ids=READOUTS)
def test_a_standardized_readout_tells_near_copies_apart(options: dict[str, Any]) -> None:
    networks = near_copies()
    plain = spread(model_of(**options)(networks))
    standardized = spread(model_of(standardize_readout=True, **options)(networks))
    assert plain < 0.01
    assert standardized > 0.1


def test_in_evaluation_a_network_is_read_alone_as_in_a_batch() -> None:
    networks, model = near_copies(), model_of(standardize_readout=True)
    with torch.no_grad():
        for _ in range(200):
            together = model(networks)
        model.eval()
        torch.testing.assert_close(model(networks[3]), model(networks)[3:4], rtol=1e-10, atol=1e-10)
        # running statistics hold the unbiased variance, a batch's own is the biased one
        assert spread(model(networks)) == pytest.approx(spread(together), rel=0.1)


def test_a_batch_of_one_goes_by_the_running_statistics_and_leaves_them() -> None:
    networks, model = near_copies(), model_of(standardize_readout=True)
    model(networks)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    alone = model(networks[5])
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    torch.testing.assert_close(alone, model.eval()(networks[5]), rtol=0, atol=0)
