"""Tasks of several threads give what one thread gives; a failure ends all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence import ClassEvidenceConfig, Pace, RunnableModule, class_evidence
from zoovet.evidence.concurrency import Interrupted, StoppableNetwork, done_at_once

CONFIG = ClassEvidenceConfig(patch_sizes=(0.25,), num_places=2, num_steps=1, num_margin_steps=2, num_stripes=2)


def test_evidence_does_not_depend_on_the_pace(
    stamped: Callable[[int | None], RunnableModule], pictures: tuple[Tensor, Tensor]
) -> None:
    network, before = stamped(3), torch.get_num_threads()
    alone, beside = (class_evidence(network, *pictures, CONFIG, pace=pace) for pace in (Pace(), Pace(3, max_images=7)))
    assert list(alone.courses) == list(beside.courses)
    assert alone.settings == beside.settings
    for name, values in alone.evidence.classes.items():
        torch.testing.assert_close(values, beside.evidence.classes[name], atol=1e-4, rtol=1e-4)
    assert torch.get_num_threads() == before


def test_threads_have_one_thread_of_torchs_and_no_gradients() -> None:
    def setting() -> tuple[int, bool, int]:
        return torch.get_num_threads(), torch.is_grad_enabled(), threading.get_ident()

    own = setting()
    found = done_at_once([setting] * 6, 2, threading.Event())
    assert {kind[:2] for kind in found} == {(1, False)}
    assert own[2] not in {kind[2] for kind in found}
    assert done_at_once([setting], 1, threading.Event()) == [own], "with one thread nothing changes"


def test_a_failure_ends_the_others_at_their_next_question(
    stamped: Callable[[int | None], RunnableModule], pictures: tuple[Tensor, Tensor]
) -> None:
    stop, asked = threading.Event(), threading.Event()
    network = StoppableNetwork(stamped(3), stop)
    ended: list[type[BaseException]] = []

    def endless() -> None:
        try:
            while True:
                network.logits(pictures[0])
                asked.set()
        except Interrupted as error:
            ended.append(type(error))
            raise

    def failing() -> None:
        assert asked.wait(20)
        raise ZoovetError("it failed")

    with pytest.raises(ZoovetError, match="it failed"):
        done_at_once([endless, failing], 2, stop)
    assert ended == [Interrupted]


def test_progress_is_told_by_one_thread_at_a_time_and_may_interrupt(
    stamped: Callable[[int | None], RunnableModule], pictures: tuple[Tensor, Tensor]
) -> None:
    inside = threading.Lock()

    def told(what: str) -> None:
        assert inside.acquire(blocking=False), "two at once"
        inside.release()
        if what == "maximum margins":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        class_evidence(stamped(3), *pictures, CONFIG, progress=told, pace=Pace(2))
