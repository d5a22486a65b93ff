"""Texts that say how far something is, made and read."""

from __future__ import annotations

import pytest

from zoovet.progress_texts import counted, share_done


def test_a_part_within_a_part_is_a_share_of_it() -> None:
    inner = counted(3, 4, "patches")
    assert inner == "3 of 4: patches"
    assert share_done(inner) == 0.5
    assert share_done(counted(2, 3, f"check: {inner}")) == pytest.approx(1 / 3 + 0.5 / 3)
    assert share_done(counted(1, 1, "all")) == 0


@pytest.mark.parametrize("text", ["", "it begins", "4 before it", "5 of 3: more than all", "0 of 3: none", "1 of 0: x"])
def test_what_says_no_count_says_no_share(text: str) -> None:
    assert share_done(text) is None


def test_texts_of_strangers_give_shares_too() -> None:
    share = share_done("9 of 9: " * 50 + "999999 of 999999: a.pt: 2 of 4: patches")
    assert share is not None
    assert 0 <= share <= 1
