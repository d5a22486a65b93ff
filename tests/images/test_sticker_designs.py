from __future__ import annotations

import numpy as np
import pytest

from zoovet.errors import ZoovetError
from zoovet.images.sticker_designs import STICKER_DESIGNS, drawn_sticker


@pytest.mark.parametrize("design", STICKER_DESIGNS)
def test_a_design_is_the_same_picture_at_every_size(design: str) -> None:
    small, large = drawn_sticker(design, 8), drawn_sticker(design, 64)
    assert small.shape == (8, 8, 4)
    assert small.dtype == np.uint8
    cover = large[..., 3:].astype(float) / 255
    pooled = (large * np.concatenate([cover] * 3 + [np.ones_like(cover)], axis=2)).reshape(8, 8, 8, 8, 4)
    pooled = pooled.mean(axis=(1, 3))
    np.testing.assert_allclose(small[..., 3], pooled[..., 3], atol=40)
    np.testing.assert_allclose(small[..., :3] * (small[..., 3:] / 255), pooled[..., :3], atol=40)
    assert 0.3 < (cover > 0.5).mean() < 0.95
    assert len(np.unique(large.reshape(-1, 4), axis=0)) > 2


def test_unknown_designs_are_named() -> None:
    with pytest.raises(ZoovetError, match="sticker design 'flowers' is unknown; did you mean 'flower'"):
        drawn_sticker("flowers", 8)
