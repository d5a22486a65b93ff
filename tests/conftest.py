"""What all tests share."""

from __future__ import annotations

import os
import signal

# Before torch is imported: with more threads than one, small tensors take longer, and sums may differ by a bit.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.networks import siren
from zoovet.zoo import Zoo
from zoovet.zoo.store import ZooInfo, write_shard

# In the background of a script, processes ignore Ctrl-C, and so would those that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def usual_arithmetic() -> None:
    """Every test begins with denormal numbers; the command line, which tests call in their process, flushes them."""
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def make_inr_zoo(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Zoo]:
    """Write a zoo of random SIRENs and open it.

    ``labels`` gives each image's class in turn; SIRENs of odd classes are brighter, so that there is something to
    learn. ``change`` may change a row in place. Of five images three are to train, one to validate and one to test.
    """

    def make(
        labels: tuple[int, ...] = (0, 1) * 20,
        sizes: tuple[int, ...] = (2, 6, 5, 1),
        change: Callable[[dict[str, Any]], None] = lambda _: None,
        **recipe: Any,
    ) -> Zoo:
        spec, rows = siren(sizes), []
        for index, label in enumerate(labels):
            flat = np.random.default_rng(index).normal(0, 0.1, spec.num_parameters)
            flat[-sizes[-1] :] += 0.5 * (label % 2)
            row = {
                "network_id": f"{index:05d}-0",
                "base_id": index,
                "spec_id": spec.spec_id,
                "split": ("train", "train", "train", "validation", "test")[index % 5],
                "dataset": "digits",
                "image_index": index,
                "copy": 0,
                "label": label,
                "weights": flat.astype(np.float32),
            }
            change(row)
            rows.append(row)
        folder: Path = tmp_path_factory.mktemp("inr_zoo")
        shard = write_shard(folder / "shard-00000.parquet", rows)
        facts = {"image_splits": ["train"], "image_size": [8, 8], **recipe}
        ZooInfo(specs={spec.spec_id: spec}, recipe=facts, versions={}, num_shards=1, shards=(shard,)).write(folder)
        return Zoo.open(folder)

    return make
