"""An ensemble says what its members say on average, runs one inversion for all, and keeps their symmetries."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from zoovet.metanets import Ensemble, InversionConfig, ScaleGMN, ScaleGMNConfig, inversion_of
from zoovet.networks import Networks, small_cnn
from zoovet.symmetry import assert_invariant

CONFIG = ScaleGMNConfig(
    width=8,
    num_layers=2,
    max_depth=2,
    max_outputs=3,
    input_shape=(1, 8, 8),
    inversion=InversionConfig(patch_size=3, num_backgrounds=2, num_steps=2),
)


def members(count: int) -> list[ScaleGMN]:
    return [ScaleGMN(CONFIG, torch.Generator().manual_seed(index)) for index in range(count)]


def networks(count: int = 4) -> Networks:
    spec = small_cnn("relu", input_shape=(1, 8, 8), channels=(4,), num_classes=3)
    flat = torch.randn(count, spec.num_parameters, generator=torch.Generator().manual_seed(9))
    return Networks.from_flat(spec, flat)


def test_it_is_the_mean_of_its_members() -> None:
    alone = members(3)
    together = Ensemble(copy.deepcopy(alone))
    batch = networks()
    expected = torch.stack([member([batch]) for member in alone])
    assert expected.std(dim=0).min() > 1e-4
    torch.testing.assert_close(together([batch]), expected.mean(dim=0))
    torch.testing.assert_close(torch.stack(together.outputs([batch])), expected)


def test_one_inversion_serves_all_and_is_stored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    together = Ensemble(members(3))
    inversion = inversion_of(together)
    assert inversion is not None
    asked: list[int] = []
    found = inversion.forward
    monkeypatch.setattr(inversion, "forward", lambda batch: asked.append(len(batch)) or found(batch))
    batch = networks()
    fresh = together(batch)
    assert asked == [4]
    torch.testing.assert_close(together([batch], inverted=[found(batch)]), fresh)
    assert asked == [4]
    owners = {name.partition(".inversion.")[0] for name in together.state_dict() if ".inversion." in name}
    assert owners == {"members.0"}


def test_a_copy_shares_its_own_inversion() -> None:
    together = copy.deepcopy(Ensemble(members(2)))
    assert together.members[1].inversion is together.members[0].inversion
    assert inversion_of(together) is together.members[0].inversion


def test_it_respects_every_symmetry_and_a_member_that_does_not_shows() -> None:
    spec = small_cnn("tanh", input_shape=(1, 8, 8), channels=(4,), num_classes=3)
    both = [networks(), Networks.from_flat(spec, networks().flat())]
    assert_invariant(Ensemble(members(2)), both)
    permutation_only = ScaleGMN(replace(CONFIG, symmetry="permutation"), torch.Generator().manual_seed(1))
    with pytest.raises(AssertionError):
        assert_invariant(Ensemble([*members(1), permutation_only]), both)
