"""Which metanetworks may be put behind a change of units."""

from __future__ import annotations

import pytest

from zoovet.errors import ZoovetError
from zoovet.metanets import LayerUnits, ScaleGMN, ScaleGMNConfig
from zoovet.networks import siren
from zoovet.tasks.metanetworks import build_in_units


def test_units_are_put_in_front_only_where_they_are_wanted() -> None:
    config = ScaleGMNConfig(width=4, num_layers=1)
    assert isinstance(build_in_units(config, [siren()], False, 0, "test"), ScaleGMN)
    assert isinstance(build_in_units(config, [siren()], True, 0, "test"), LayerUnits)


def test_a_metanetwork_that_runs_networks_keeps_their_own_units() -> None:
    config = ScaleGMNConfig(width=4, num_layers=1, num_probes=2, input_shape=(2,))
    with pytest.raises(ZoovetError, match="leave out layer_units, or num_probes and inversion"):
        build_in_units(config, [siren()], True, 0, "test")
