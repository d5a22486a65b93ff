"""The class that a stamp causes stands out, where the stamp is; with reference images, unlabelled ones or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.evidence import ClassEvidence, ClassEvidenceConfig, RunnableModule, class_evidence
from zoovet.evidence.trigger_families import Patches
from zoovet.networks import ZOO_SCALING

Find = Callable[..., ClassEvidence]
MakeStamped = Callable[[int | None], RunnableModule]
Pictures = tuple[Tensor, Tensor]

CONFIG = ClassEvidenceConfig(patch_sizes=(0.25,), num_places=4, num_trial_steps=2, num_steps=3, num_margin_steps=8)


@pytest.fixture
def found(stamped: MakeStamped, pictures: Pictures) -> Find:
    """What is found in a network with that target, on images of a kind."""
    images, labels = pictures
    given = {"labelled": (images, labels), "unlabelled": (images, None), "none": (None, None)}

    def find(target: int | None, kind: str = "labelled", **options: Any) -> ClassEvidence:
        return class_evidence(stamped(target), *given[kind], options.pop("config", CONFIG), **options)

    return find


@pytest.mark.parametrize("kind", ["labelled", "unlabelled", "none"])
def test_the_target_stands_out_where_the_stamp_is(found: Find, kind: str) -> None:
    told: list[str] = []
    own = found(3, kind, progress=told.append)
    standing = own.standings()["patch_0.25.margin"]
    assert int(standing.argmax()) == 3
    assert float(standing[3]) > 5
    family = own.courses["patch_0.25"].family
    assert isinstance(family, Patches)
    assert family.places[3].tolist() == [9, 9]
    assert told[:2] == ["suspects", "patch_0.25"]
    assert own.settings["patch_0.25"] == 3


def test_of_a_healthy_network_none_does(found: Find) -> None:
    standings = found(None).standings()
    assert max(float(standing.max()) for standing in standings.values()) < 5


def test_bounds_are_set_by_the_network_and_names_say_what_was_sought(
    found: Find, stamped: MakeStamped, pictures: Pictures
) -> None:
    own = found(3)
    classes = own.evidence.classes
    names = {name.removesuffix(".found") for name in classes if name.endswith(".found")}
    found_by_name = {"patch_0.25", "pixels_0.3", "pixels_1", "change_0.5", "change_1", "smooth_1"}
    found_by_name |= {"warp_0.5", "warp_1", "drawn_warp_0.03", "drawn_warp_0.05"}
    found_by_name |= {"blend_0.12", "blend_0.22"}
    tried = {"usual_patch_0.125", "usual_patch_0.2", "usual_blend_0.12", "usual_blend_0.22"}
    tried |= {"usual_stripes_0.2", "usual_stripes_0.35"}
    assert names == found_by_name | tried == own.courses.keys()
    for name in ("change_1", "pixels_1"):
        flips = float(classes[f"{name}.course"][0, :, -1, 1].quantile(0.5))
        assert 0.15 < flips < 0.95, name
    assert classes["change_1.course"].shape == (1, 8, 4, 3)
    assert own.settings["change_0.5"] == pytest.approx(own.settings["change_1"] / 2)
    network, (images, labels) = stamped(3), pictures
    is_right = network.logits(images)[0].argmax(1) == labels
    assert float(classes["confusion"][0, :, 1].mean()) == pytest.approx(float(is_right.float().mean()))
    assert torch.equal(found(3).evidence.classes["change_1.course"], classes["change_1.course"])


def test_larger_patches_are_left_out_once_one_wins_nearly_everything(found: Find) -> None:
    own = found(3, config=ClassEvidenceConfig(patch_sizes=(1.0, 0.25, 0.8), num_places=1, num_steps=2))
    assert [name for name in own.courses if name.startswith("patch")] == ["patch_0.25", "patch_0.8"]


def test_what_does_not_fit_is_refused(stamped: MakeStamped, pictures: Pictures) -> None:
    network, (images, labels) = stamped(3), pictures
    with pytest.raises(ZoovetError, match=r"reference images must be \[n, 1, 12, 12\], got \[24, 1, 12, 11\]"):
        class_evidence(network, images[..., 1:], labels)
    with pytest.raises(ZoovetError, match=r"labels of 24 images must be int64 \[24\] from 0, got \[23\]"):
        class_evidence(network, images, labels[1:])
    with pytest.raises(ZoovetError, match="tells 8 classes apart, got the label 9"):
        class_evidence(network, images, labels + 2)
    broken = nn.Sequential(nn.Flatten(), nn.Linear(144, 8))
    nn.init.constant_(broken[1].weight, torch.inf)
    with pytest.raises(ZoovetError, match="answers to the reference images are not all finite"):
        class_evidence(RunnableModule(broken, (1, 12, 12), ZOO_SCALING), images, labels)
    for options, text in (
        ({"num_steps": 0}, "num_steps must be at least 1, got 0"),
        ({"patch_sizes": (1.5,)}, "patch_sizes must be shares above 0 and at most 1"),
        ({"change_factors": (0.0,)}, "change_factors must be above 0"),
    ):
        with pytest.raises(ZoovetError, match=text):
            ClassEvidenceConfig(**options)
