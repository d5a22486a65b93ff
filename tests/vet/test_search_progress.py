"""Searches in words, counted: what evidence tells is what was planned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zoovet.evidence import ClassEvidenceConfig, class_evidence
from zoovet.images import Images
from zoovet.progress_texts import share_done
from zoovet.vet.runnable_network import runnable
from zoovet.vet.search_progress import counted_searches, planned_searches

CONFIG = ClassEvidenceConfig(num_steps=1, num_margin_steps=1, num_starts=1, num_places=2, num_stripes=2, num_warps=1)


def test_all_that_is_sought_was_planned(stamped: Callable[..., Any], pictures: Images) -> None:
    told: list[str] = []
    class_evidence(runnable(stamped(3)), pictures.pixels, pictures.labels, CONFIG, progress=told.append)
    planned = planned_searches(CONFIG)
    assert {name for name in planned if name in told or not name.startswith("patch_")} == set(told)
    assert len(planned) == len(set(planned))
    assert len(told) == len(set(told))


def test_each_is_told_in_words_with_its_number() -> None:
    told: list[str] = []
    tell = counted_searches(CONFIG, told.append)
    for name in planned_searches(CONFIG):
        tell(name)
    total = len(told)
    assert told[:2] == [
        f"1 of {total}: classes that chance triggers raise",
        f"2 of {total}: patches, 20 % of the image's side",
    ]
    assert [one for one in told if one.endswith(": patterns of a few pixels: how strong they need to be")]
    assert not [one for one in told if "_" in one]
    assert [share_done(one) for one in told] == pytest.approx([place / total for place in range(total)])
    tell("suspects")  # one more than was planned
    assert told[-1].startswith(f"{total} of {total}: ")
